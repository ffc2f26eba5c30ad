"""The plant as a process of the real-time rig: paced by CLOCK_MONOTONIC, commanded by JSON lines, recording at 1 kHz.

Plant time is monotonic time minus a constant. When the process was held up for longer than CATCH_UP_S, the time lost
is not made good (the plant stood still) and is said on standard error.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from hil.devices.commands import ACTION, FLAG, Rule, checked, is_number, number
from hil.devices.process import SharedLink, arguments, run
from hil.plant.ac import HOUSE, IslandLoad
from hil.plant.grid_source import GridSource, ProgrammableSource, toledo
from hil.plant.link import FIELDS, INDEX, OPERATOR
from hil.plant.plant import Plant, PlantParams

SLICE_S = 0.002
CATCH_UP_S = 0.25
SAMPLE_S = 0.001
RECORD_MAX_S = 600.0  # a recording that nobody stops ends by itself
DEFAULT_FIELDS = (
    "conv_on",
    "conv_i_a",
    "coil_dc",
    "k_grid",
    "k_dc",
    "pcc_va_v",
    "pcc_f_hz",
    "ac_p_w",
    "dc_v_v",
    "cable_i_a",
)


def source_of(text: str, now_s: float = 0.0) -> GridSource:
    """`230,50` (V phase to neutral, Hz) or `replay[:START]` (the recording of Toledo from START seconds on, beginning
    at plant time now_s). Raises ValueError with a sentence."""
    name, _, start = text.partition(":")
    try:
        if name == "replay":
            start_s = float(start or 0.0)
            if 0.0 <= start_s < 1474.0:
                return toledo(start_s - now_s)
        else:
            volts, hertz = (float(part) for part in text.split(","))
            return ProgrammableSource(volts, hertz)
    except ValueError as error:
        if "needed" in str(error):  # the source's own sentence
            raise
    raise ValueError(f"grid source {text!r}: use VOLTS,HERTZ (230,50) or replay[:START_S] with START_S from 0 to 1474")


class Recorder:
    """Chosen fields every millisecond of plant time, stamped with CLOCK_MONOTONIC seconds, as CSV.

    A command reaches the physics of the slice in which it is read, so an effect may stand up to one slice (2 ms)
    before its cause."""

    def __init__(self, path: Path, fields: tuple[str, ...]) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._indices = [INDEX[name] for name in fields]
        self._lines = [",".join(("t_monotonic_s", *fields)) + "\n"]
        self.samples = 0

    def sample(self, t_s: float, values: Any) -> None:
        self._lines.append(f"{t_s:.4f}," + ",".join(f"{values[i]:.6g}" for i in self._indices) + "\n")
        self.samples += 1
        if len(self._lines) >= 1000:
            self._flush()

    def _flush(self) -> None:
        self._file.writelines(self._lines)
        self._lines.clear()

    def close(self) -> None:
        self._flush()
        self._file.close()


class PlantProcess:
    """A `hil.devices.process.Device` around a Plant."""

    def __init__(self, shared: SharedLink, plant: Plant, record_dir: Path) -> None:
        self._shared = shared
        self.plant = plant
        self._record_dir = record_dir
        self._offset_s: float | None = None  # monotonic time of plant time 0
        self._recorder: Recorder | None = None

    def step(self, now: float) -> None:
        if self._offset_s is None:
            self._offset_s = now - self.plant.t_s
        lag = now - self._offset_s - self.plant.t_s
        if lag > CATCH_UP_S:
            print(f"the plant was held up for {lag:.2f} s and stood still meanwhile", file=sys.stderr, flush=True)
            self._offset_s += lag - SLICE_S
        until = now - self._offset_s
        recorder = self._recorder
        if recorder is None:
            self.plant.advance(until)
            return
        values = self.plant.link.values
        while self.plant.t_s + SAMPLE_S <= until + 1e-9:
            self.plant.advance(self.plant.t_s + SAMPLE_S)
            recorder.sample(self._offset_s + self.plant.t_s, values)
        if recorder.samples * SAMPLE_S >= RECORD_MAX_S:
            print(f"the recording has reached {RECORD_MAX_S:g} s and is closed", file=sys.stderr, flush=True)
            self._stop_recording()

    def handle(self, command: dict[str, Any]) -> None:
        """The rig's commands; see docs/rig.md. ValueError with a sentence; nothing has changed then."""
        for first, more in _COMPANIONS.items():
            if first in command and set(command) - {first} <= more:
                break
        else:
            if len(command) != 1:
                raise ValueError("the plant takes one command at a time")
        values = checked("plant", _RULES, command)
        if not values.keys() & _MAIN:
            raise ValueError(f"{', '.join(values)} alone is no command; give one of {', '.join(sorted(_MAIN))}")
        source = self.plant.source
        name = next(key for key in values if key in _MAIN)
        if name == "sag":
            source.sag(values["sag"], values.get("duration_s", math.inf), values.get("phases", "abc"))
        elif name == "end_sag":
            source.end_sag()
        elif name == "jump_deg":
            source.jump(values["jump_deg"])
        elif name in ("v_v", "f_hz"):
            if not isinstance(source, ProgrammableSource):
                raise ValueError('the grid is a recording; choose {"source": "230,50"} first')
            source.ramp(values.get("ramp_s", 0.0), values.get("v_v"), values.get("f_hz"))
        elif name == "source":
            self.plant.set_source(source_of(values["source"], self.plant.t_s))
        elif name == "island_w":
            self._set_load(values["island_w"], values.get("qf", 1.0))
        elif name == "field":
            self._set_field(values)
        elif name == "soc":
            self.plant.dc.battery.soc = values["soc"]  # another car, or hours later
        elif name == "record":
            self._record(values)

    def _set_load(self, p_w: float, qf: float) -> None:
        load = IslandLoad.tuned(p_w, qf) if p_w > 0.0 else HOUSE
        spare = self.plant.params.ac.pcc_f  # the PCC's own capacitor is part of the tuned sum
        self.plant.ac.set_load(replace(load, c_f=max(0.0, load.c_f - spare)))

    def _set_field(self, values: dict[str, Any]) -> None:
        if "value" not in values:
            raise ValueError("field needs a value")
        name, value = values["field"], values["value"]
        low, high = _FIELD_RANGES.get(name, (0.0, 1.0))
        if not low <= value <= high:
            raise ValueError(f"{name} is {value:g}, must be {low:g} to {high:g}")
        setattr(self.plant.link, name, value)

    def _record(self, values: dict[str, Any]) -> None:
        if not values["record"]:
            self._stop_recording()
            return
        path = Path(values.get("file", "record.csv"))
        path = path if path.is_absolute() else self._record_dir / path
        try:
            fresh = Recorder(path, values.get("fields", DEFAULT_FIELDS))
        except OSError as error:
            raise ValueError(f"{path} cannot be written: {error.strerror}") from None
        self._stop_recording()
        self._recorder = fresh

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def close(self) -> None:
        self._stop_recording()
        self._shared.close()


def _one_of(names: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


_text = Rule(lambda value: isinstance(value, str) and bool(value), "a text", str)
_RULES = {
    "sag": number(0.0, 1.5, "(residual voltage, share)"),
    "duration_s": number(0.001, 86400.0, "s"),
    "phases": Rule(lambda v: isinstance(v, str) and len(v) > 0 and not set(v) - set("abc"), "letters among abc", str),
    "end_sag": ACTION,
    "jump_deg": number(-180.0, 180.0, "degrees"),
    "v_v": number(0.0, 400.0, "V"),
    "f_hz": number(30.0, 70.0, "Hz"),
    "ramp_s": number(0.0, 86400.0, "s"),
    "source": _text,
    "island_w": number(0.0, 100_000.0, "W (0: no island load)"),
    "qf": number(0.1, 10.0, "(quality factor)"),
    "soc": number(0.0, 1.0, "(state of charge of the car's battery)"),
    "field": Rule(_one_of(OPERATOR), f"one of {', '.join(OPERATOR)}", str),
    "value": Rule(lambda value: is_number(value, -1e12, 1e12), "a number", float),
    "record": FLAG,
    "file": _text,
    "fields": Rule(
        lambda v: isinstance(v, list) and len(v) > 0 and all(isinstance(n, str) and n in FIELDS for n in v),
        "a list of plant fields",
        tuple,
    ),
}
# Commands, and what may stand beside each.
_COMPANIONS = {
    "sag": {"duration_s", "phases"},
    "v_v": {"f_hz", "ramp_s"},
    "f_hz": {"v_v", "ramp_s"},
    "island_w": {"qf"},
    "field": {"value"},
    "record": {"file", "fields"},
}
_MAIN = {*_COMPANIONS, "end_sag", "jump_deg", "soc", "source"}
_FIELD_RANGES = {"leak_ohm": (0.0, 1e9), "ambient_c": (-40.0, 85.0)}


def _parser() -> argparse.ArgumentParser:
    parser = arguments("the plant of the rig in real time")
    parser.add_argument("--source", default="230,50", help="VOLTS,HERTZ or replay[:START_S]")
    parser.add_argument("--soc", type=float, default=0.5, help="the battery's state of charge at start, 0 to 1")
    parser.add_argument("--record-dir", type=Path, default=Path(), help="where recordings without a path go")
    return parser


def main() -> int:
    options = _parser().parse_args()
    try:
        source = source_of(options.source)
        if not 0.0 <= options.soc <= 1.0:
            raise ValueError(f"--soc is {options.soc:g}, must be 0 to 1")
        shared = SharedLink(options.shm)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    plant = Plant(shared.link, source, PlantParams(soc=options.soc), random.Random(options.seed))
    return run(PlantProcess(shared, plant, options.record_dir), SLICE_S)


if __name__ == "__main__":
    raise SystemExit(main())
