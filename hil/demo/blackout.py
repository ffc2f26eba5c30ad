"""The demo: a charger that discharges into the Iberian grid while it collapses.

Grid: the recording of hil/data, scaled from 46 kV to 230 V and linear between its rows (2 s apart). Charger: board
`desk` on the lockstep rig, so guard, drivers and codecs are the product's own and only time and wires are simulated.
Every time in the result is seconds since the start of the recording's extract; times of the trip are taken from the
recorded grid channel and from the plant (current gone, contactors open), never from a command.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boards
from firmware.guard.events import EVENTS
from firmware.guard.messages import EventMessage
from firmware.protection.types import GridState
from firmware.recorder import record_files
from firmware.recorder.trip_record import StoredRecord
from firmware.services.in_force import in_force
from hil.plant.grid_source import toledo
from hil.sim import Sim

START = datetime(2025, 4, 28, 12, 13, 24, tzinfo=timezone(timedelta(hours=2), "CEST"))  # first row of the extract
COLLAPSE_S = 1190.0  # s, 12:33:14: the last row on the morning's voltage, before the collapse
PLUG_S = 5.0
POWER_W = -10_400.0  # W at the DC terminals: 10 kW reach the grid after the losses of module and filter
CEASED_A = 0.5  # A, DC current below which the charger no longer feeds the grid
SERIES_S = 0.1  # s between points of the plot's series; every tick around the collapse


@dataclass
class Story:
    """What happened, in numbers; `demands` maps each demand to whether it was met."""

    trip: dict[str, Any] = field(default_factory=dict)
    cease: dict[str, Any] = field(default_factory=dict)
    contactors_open: dict[str, Any] = field(default_factory=dict)
    enter_service: dict[str, Any] = field(default_factory=dict)
    ride_through: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    energy: dict[str, float] = field(default_factory=dict)
    demands: dict[str, bool] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    simulated_s: float = 0.0
    wall_s: float = 0.0

    @property
    def good(self) -> bool:
        return bool(self.demands) and all(self.demands.values())


def local(t_s: float) -> str:
    """Time of the recording, HH:MM:SS.mmm."""
    return (START + timedelta(seconds=t_s)).strftime("%H:%M:%S.%f")[:-3]


class Blackout:
    """One run. `step` observes after every guard tick."""

    def __init__(self, seed: int, until_s: float, speed: float | None) -> None:
        board = boards.load("desk", "unused")
        self.source = toledo()
        self.until_s = min(until_s, self.source.length_s)
        # The same story to the last bit without numba (docs/lockstep.md), a fifth slower.
        compiled = find_spec("numba") is not None
        self.sim = Sim(
            board, self.source, seed=seed, soc=0.7, device_step_s=0.0025, plant_step_s=2e-4, compiled=compiled
        )
        self.sim.wish.power_w = POWER_W
        self.sim.wish.source, self.sim.wish.reason = "demo", "feed the grid of Toledo"
        self.sim.on_event = self._event
        self.events: list[EventMessage] = []
        self.series: list[tuple[float, ...]] = []
        self.story = Story()
        self._speed = speed
        self._wall0 = time.monotonic()
        self._next_point = 0.0
        self._plugged = False
        self._limit_crossed: float | None = None
        self._fed_s = 0.0
        self._closed_again = False
        self._tripped_before = False
        self._dips: list[float] = []
        self._feed_w = 0.0  # AC power when the trip came
        self._say = 0.0

    def _event(self, event: EventMessage) -> None:
        self.events.append(event)

    def run(self) -> Story:
        self.sim.run(self.until_s, self._step)
        self._finish()
        return self.story

    def _step(self) -> bool:
        sim, story, now = self.sim, self.story, self.sim.now
        if not self._plugged and now >= PLUG_S:
            self._plugged = True
            sim.car.plug_in()
        (va, vb, vc), f_hz = self.source.course(now)
        link, grid = sim.link, sim.guard.grid
        assert grid is not None
        feeding = link.dc_i_a < -CEASED_A
        if not story.trip:
            self._before(now, grid.state, feeding, (va, vb, vc), f_hz)
        else:
            self._afterwards(now, feeding)
        if now >= self._next_point or abs(now - COLLAPSE_S - 8) < 8:
            self._next_point = now + SERIES_S
            state = list(GridState).index(grid.state)
            self.series.append((now, va, vb, vc, f_hz, link.ac_p_w, link.dc_i_a, float(state), link.k_grid, link.k_dc))
        self._pace(now)
        return False

    def _before(self, now: float, state: GridState, feeding: bool, v: tuple[float, float, float], f_hz: float) -> None:
        story, grid = self.story, self.sim.guard.grid
        assert grid is not None
        if self._limit_crossed is None and f_hz < 47.5:
            self._limit_crossed = now
        if not story.enter_service and state is GridState.CONNECTED:
            story.enter_service = {"t_s": now, "local": local(now)}
        if feeding:
            self._fed_s += self.sim.loop.guard.settings.tick_s
            self._dips += [min(v) / 230.0, max(v) / 230.0]
            self._dips = [min(self._dips), max(self._dips)]
            self._feed_w += 0.01 * (self.sim.link.ac_p_w - self._feed_w)
        if grid.last_trip is not None:
            t = grid.last_trip
            story.trip = {
                "element": t.element, "t_s": round(t.t, 4), "local": local(t.t), "source": t.source and t.source.value,
                "value": t.value, "threshold": t.threshold, "unit": t.unit, "delay_s": t.delay_s, "clause": t.clause,
                "text": t.text, "grid_crossed_t_s": self._limit_crossed,
            }  # fmt: skip
            story.ride_through = {
                "fed_s": round(self._fed_s, 1),
                "p_pcc_w": round(self._feed_w),  # mean of the last second before the trip
                "v_min_pu": round(self._dips[0], 4) if self._dips else None,
                "v_max_pu": round(self._dips[-1], 4) if self._dips else None,
            }

    def _afterwards(self, now: float, feeding: bool) -> None:
        story, link = self.story, self.sim.link
        if not story.cease and not feeding:
            story.cease = {"t_s": round(now, 4), "local": local(now)}
        if not story.contactors_open and not link.k_grid and not link.k_dc:
            story.contactors_open = {"t_s": round(now, 4), "local": local(now)}
        elif story.contactors_open and (link.k_grid or link.k_dc or feeding):
            self._closed_again = True

    def _pace(self, now: float) -> None:
        wall = time.monotonic() - self._wall0
        if self._speed is not None and now / self._speed > wall:
            time.sleep(now / self._speed - wall)
        if sys.stderr.isatty() and wall > self._say:
            self._say = wall + 0.2
            grid = self.sim.guard.grid
            rate = now / wall if wall else 0.0
            state = grid.state.value if grid else ""
            print(f"\r{local(now)}  {rate:5.1f}x  {self.sim.state}, {state}".ljust(78), end="", file=sys.stderr)

    def _finish(self) -> None:
        if sys.stderr.isatty():
            print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
        story, sim = self.story, self.sim
        grid = sim.guard.grid
        assert grid is not None
        story.simulated_s = round(sim.now, 2)
        story.wall_s = round(time.monotonic() - self._wall0, 1)
        story.energy = {
            "charged_wh": round(sim.guard.charged_wh, 1),
            "discharged_wh": round(sim.guard.discharged_wh, 1),
        }
        story.after = {
            "grid_state": grid.state.value,
            "reason": grid.reason,
            "reconnected": self._closed_again,
            "watched_s": round(sim.now - story.contactors_open["t_s"], 1) if story.contactors_open else 0.0,
        }
        trip = story.trip
        story.demands = {
            "rode through the morning's oscillations while feeding": self._fed_s > 60.0
            and bool(trip) and trip["t_s"] > COLLAPSE_S,
            "tripped by under-frequency (UF1)": trip.get("element") == "UF1",
            "ceased within 0.2 s of the trip": bool(story.cease) and story.cease["t_s"] - trip["t_s"] <= 0.2,
            "opened the contactors within 0.2 s of the trip": bool(story.contactors_open)
            and story.contactors_open["t_s"] - trip["t_s"] <= 0.2,
            "refused to reconnect": bool(story.contactors_open) and not self._closed_again,
            "left a record": bool(sim.services.records),
        }  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Run, print, write. 0: all demands met; 1: not; 2: the output directory cannot be used."""
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"cannot write to {out}: {error.strerror}", file=sys.stderr)
        return 2
    until_s = args.minutes * 60.0 if args.minutes else math.inf
    run = Blackout(args.seed, until_s, args.speed)
    story = run.run()
    _write(run, out)
    if args.json:
        print(json.dumps({**asdict(story), "good": story.good}, indent=2))
    else:
        _tell(run, story)
    return 0 if story.good else 1


def _write(run: Blackout, out: Path) -> None:
    story = run.story
    events = out / "events.jsonl"
    with events.open("w", encoding="utf-8") as file:
        for e in run.events:
            line = {"t_s": round(e.t, 3), "local": local(e.t), "code": e.code, "detail": e.detail, "cleared": e.cleared}
            file.write(json.dumps(line) + "\n")
    story.files["events"] = str(events)
    code = run.sim.guard.protection.code
    settings = in_force(code, run.sim.guard.support.settings.functions())
    for number, record in enumerate(run.sim.services.records, 1):
        header = {"board": "desk", **settings, "digital": record.digital, "codes": record.codes}
        stored = StoredRecord(
            number, START.timestamp() + record.t, record.t, run.sim.loop.boot, record.code, record.detail,
            code.profile_hash, tuple(record.columns), len(record.rows), EVENTS[record.code].severity, header=header,
        )  # fmt: skip
        for path in record_files.write(out, stored, record.rows):
            story.files[f"record_{number}{path.suffix.replace('.', '_')}"] = str(path)
    try:
        from hil.demo.plot import draw
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'quadrant[plot]')", file=sys.stderr)
        return
    picture = out / "blackout.png"
    draw(run.series, story, picture)
    story.files["plot"] = str(picture)


_TOLD = (
    "grid_wait",
    "grid_enter_service",
    "car_plugged",
    "session_started",
    "state",
    "grid_trip",
    "session_ended",
    "record",
)


def _tell(run: Blackout, story: Story) -> None:
    print("Toledo, 28 April 2025, under VDE-AR-N 4105:2018-11 (tested with our transcription of it, not certified).")
    feed_w = -story.ride_through.get("p_pcc_w", 0.0)
    print(f"Asked to discharge {-POWER_W / 1000:.1f} kW at the car; {feed_w / 1000:.1f} kW reach the grid.\n")
    for e in run.events:
        if e.code in _TOLD and not e.cleared:
            print(f"{local(e.t)}  {EVENTS[e.code].sentence} {e.detail}".rstrip())
    if story.trip:
        t = story.trip
        print(f"\n{t['local']}  {t['text']}")
        crossed = t["grid_crossed_t_s"]
        if crossed is not None:
            print(f"{local(crossed)}  the grid itself fell below 47.5 Hz, {t['t_s'] - crossed:.3f} s before that")
    for name, what in (("cease", "no current any more"), ("contactors_open", "grid and DC contactors open")):
        entry = getattr(story, name)
        if entry:
            print(f"{entry['local']}  {what}, {entry['t_s'] - story.trip['t_s']:.3f} s after the trip")
    print(f"\nSince then, for {story.after['watched_s']:.0f} s: {story.after['reason']}")
    print(
        f"Fed {story.energy['discharged_wh'] / 1000:.2f} kWh in {story.ride_through.get('fed_s', 0) / 60:.1f} minutes."
    )
    print(f"{story.simulated_s:.0f} s simulated in {story.wall_s:.0f} s.\n")
    for demand, met in story.demands.items():
        print(f"{'yes' if met else 'NO '}  {demand}")
    print("\n" + "\n".join(f"{name}: {path}" for name, path in story.files.items()))
