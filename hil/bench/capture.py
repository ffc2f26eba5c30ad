"""What a recorder brings home: channels over time, the charger's events, and how well both were measured.

A capture is data. Verdicts are pure functions of it (`hil/scenarios/verdict.py`), so they are the same on a simulated
bench and on a real one, and can be judged again years later.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class CaptureError(ValueError):
    """A capture cannot answer the question. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One recorded quantity. `accuracy` is absolute, in `unit`; a value nearer to a limit than this decides nothing.
    source: who measured it (with its serial number); cal_due: ISO date, empty where nothing needs calibration."""

    name: str
    unit: str
    accuracy: float = 0.0
    source: str = ""
    cal_due: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the charger told, at `t` (s on the capture's clock)."""

    t: float
    code: str
    detail: str = ""
    cleared: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What the charger's own durable records hold: events, and the energy registers (Wh, both only rise)."""

    events: list[Event]
    charged_wh: float
    discharged_wh: float


@dataclass
class Capture:
    """Samples on one clock. t_accuracy_s: how far a sample's time may be off, beside the sample period itself."""

    channels: dict[str, Channel]
    t: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    period_s: float = 0.001
    t_accuracy_s: float = 0.0
    about: dict[str, str] = field(default_factory=dict)  # bench, unit, code, seed, deviations of the profile
    kept: tuple[Kept, Kept] | None = None  # at the beginning and at the end, where somebody asks for it

    def __post_init__(self) -> None:
        for name in self.channels:
            self.series.setdefault(name, [])

    def add(self, t: float, values: Mapping[str, float]) -> None:
        """One row. Every channel needs a value."""
        self.t.append(t)
        for name, column in self.series.items():
            column.append(values[name])

    def column(self, name: str) -> list[float]:
        """The samples of one channel. Raises CaptureError when it was not recorded."""
        try:
            return self.series[name]
        except KeyError:
            raise CaptureError(
                f"channel {name!r} was not recorded; recorded were {', '.join(sorted(self.series))}"
            ) from None

    @property
    def time_uncertainty_s(self) -> float:
        """Of a difference between two instants found in this capture: one sample, and the clock twice."""
        return self.period_s + 2.0 * self.t_accuracy_s

    def to_json(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "period_s": self.period_s,
            "t_accuracy_s": self.t_accuracy_s,
            "channels": [asdict(channel) for channel in self.channels.values()],
            "events": [asdict(event) for event in self.events],
            "t_s": self.t,
            "series": self.series,
            "kept": None if self.kept is None else [asdict(kept) for kept in self.kept],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Capture:
        """The inverse of `to_json`. Raises CaptureError when columns and times do not match."""
        try:
            capture = cls(
                {entry["name"]: Channel(**entry) for entry in data["channels"]},
                [float(t) for t in data["t_s"]],
                {name: [float(x) for x in column] for name, column in data["series"].items()},
                [Event(**entry) for entry in data["events"]],
                float(data["period_s"]),
                float(data["t_accuracy_s"]),
                dict(data["about"]),
            )
            kept = [
                Kept([Event(**e) for e in k["events"]], float(k["charged_wh"]), float(k["discharged_wh"]))
                for k in data.get("kept") or ()
            ]
            if kept:
                before, after = kept
                capture.kept = (before, after)
        except (KeyError, TypeError, ValueError) as error:
            raise CaptureError(f"this is no capture: {error!r}") from None
        if set(capture.series) != set(capture.channels):
            raise CaptureError("this is no capture: its series are not those of its channels")
        if any(len(column) != len(capture.t) for column in capture.series.values()):
            raise CaptureError("this is no capture: a series has not as many values as there are times")
        return capture

    def save(self, stem: Path) -> None:
        """STEM.json (everything) and STEM.csv (the samples, for a spreadsheet)."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").write_text(json.dumps(self.to_json()) + "\n", encoding="utf-8")
        with stem.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["t_s", *(f"{c.name} [{c.unit}]" for c in self.channels.values())])
            columns = [self.series[name] for name in self.channels]
            writer.writerows([f"{t:.6f}", *(f"{x:.6g}" for x in row)] for t, *row in zip(self.t, *columns, strict=True))
