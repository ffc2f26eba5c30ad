"""Plays a scenario on a bench and judges what was recorded. Knows the roles only, never a driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from boards import BoardError
from firmware.grid_codes import GridCodeError
from hal.ports import HalError
from hil.bench.bench import Bench, settle, shut
from hil.bench.capture import Capture
from hil.bench.profile import GridPoint, Segment, Volts
from hil.bench.roles import BenchError
from hil.plant.grid_source import toledo
from hil.scenarios import kept
from hil.scenarios.schema import GridSegment, Recording, Scenario, Step
from hil.scenarios.verdict import Outcome, Verdict, judge, worst

READY_S = 700.0  # the longest enter-service delay of a code (600 s), with the module's boot
SESSION_S = 120.0  # from plugging in to power
POWER_S = 600.0  # a ramp after entering service may be slow (10 % a minute)
POWER_SHARE = 0.03  # as near to what was asked counts as reached
SETTLED_S = 0.5
MEAN_S, MEAN_SAMPLES = 0.5, 25


class PlayError(Exception):
    """The story could not be told: the charger or the rig was never where the scenario needs it."""


@dataclass
class Result:
    scenario: str
    title: str
    tags: tuple[str, ...]
    outcomes: list[Outcome]
    error: str = ""
    wall_s: float = 0.0
    sim_s: float = 0.0
    capture: Capture | None = field(default=None, repr=False)

    @property
    def verdict(self) -> Verdict:
        return Verdict.ERROR if self.error else worst([outcome.verdict for outcome in self.outcomes])


def run(scenario: Scenario, open_bench: Callable[[Scenario], Bench]) -> Result:
    """Open a bench, play, judge, leave it safe. Never raises for what a charger or a rig may do: that is a verdict."""
    begun = time.monotonic()
    result = Result(scenario.name, scenario.title, scenario.tags, [])
    try:
        bench = open_bench(scenario)
    except (BenchError, BoardError, GridCodeError, HalError) as error:
        result.error = f"the bench could not be opened: {error}"
        return result
    try:
        result.capture = play(scenario, bench)
        result.outcomes = judge(result.capture, scenario.musts, scenario.instants)
        if scenario.health:
            result.outcomes.append(_health(bench))
    except (BenchError, PlayError, HalError) as error:
        result.error = str(error)
    except Exception as error:  # a program that crashed, the charger's or ours: it must not end the campaign
        result.error = f"a program crashed: {type(error).__name__}: {error}"
    finally:
        result.sim_s = bench.clock.now()
        try:
            shut(bench)
        except Exception as error:  # whatever it is, the result must say so
            result.error = result.error or f"the bench could not be left safe: {error}"
        result.wall_s = time.monotonic() - begun
    return result


def _health(bench: Bench) -> Outcome:
    wrong = settle(bench)
    verdict = Verdict.FAIL if wrong else Verdict.PASS
    return Outcome(verdict, "the charger is healthy when all is mended", "; ".join(wrong) or "healthy", "bench rule")


def play(scenario: Scenario, bench: Bench) -> Capture:
    """Bring the charger to where the story begins, do every step, return the recording.

    Raises PlayError when it cannot be brought there, BenchError when the bench cannot do a step."""
    lead_in(scenario, bench)
    read = any(must.kind in kept.KINDS for must in scenario.musts)
    before = bench.unit.kept() if read else None
    bench.recorder.start(scenario.record_hz)
    story = _Story(scenario, bench)
    for step in scenario.steps:
        story.do(step)
    story.wait_to(scenario.duration_s)
    capture = bench.recorder.stop()
    if before is not None:
        capture.kept = (before, bench.unit.kept())
    capture.about = {**bench.unit.identity, "scenario": scenario.name, "deviations": "; ".join(story.deviations)}
    return capture


def lead_in(scenario: Scenario, bench: Bench) -> None:
    start, unit, clock = scenario.start, bench.unit, bench.clock

    def need(condition: Callable[[], bool], within_s: float, what: str) -> None:
        if not clock.wait_until(condition, within_s):
            status = unit.status()
            raise PlayError(f"the charger was not {what} within {within_s:g} s: {status.state}: {status.why}")

    if start.at == "cold":
        return
    unit.ask(0.0)  # a charger of which nobody wants anything does not even close its grid contactor
    need(lambda: unit.status().ready, READY_S, "ready")
    clock.wait(SETTLED_S)
    if start.at == "idle":
        return
    bench.ev.plug_in()
    need(lambda: unit.status().state == "transfer: holding", SESSION_S, "holding")
    if start.at == "transfer":
        unit.ask(start.power_w)
        tolerance = POWER_SHARE * abs(start.power_w)
        need(
            lambda: abs(bench.recorder.latest("dc_w") - start.power_w) <= max(tolerance, 50.0),
            POWER_S,
            f"at {start.power_w / 1000:g} kW",
        )
    clock.wait(SETTLED_S)


class _Story:
    def __init__(self, scenario: Scenario, bench: Bench) -> None:
        self.scenario, self.bench = scenario, bench
        self.begun_s = bench.clock.now()
        self.deviations: list[str] = []
        self.here = bench.nominal  # where the last profile leaves the grid

    def wait_to(self, at_s: float) -> None:
        self.bench.clock.wait(max(0.0, self.begun_s + at_s - self.bench.clock.now()))

    def do(self, step: Step) -> None:
        bench = self.bench
        profile = self._profile(step)
        if profile and not bench.grid.playing():
            self._load(profile)
        if step.at_s is not None:
            self.wait_to(step.at_s)
        elif not bench.clock.wait_until(lambda: bench.unit.status().state == step.when, step.within_s):
            status = bench.unit.status()
            raise PlayError(
                f"state {step.when!r} was not there within {step.within_s:g} s: {status.state}: {status.why}"
            )
        if profile:
            bench.grid.fire()
        self._break(step)
        self._people(step)

    def _load(self, profile: list[Segment]) -> None:
        compiled = self.bench.grid.load(profile)
        self.deviations += compiled.deviations
        self.bench.grid.arm()
        end = compiled.points[-1]
        self.here = GridPoint(end.v_v, end.f_hz)

    def _profile(self, step: Step) -> list[Segment]:
        if not step.grid and step.recording is None:
            return []
        if self.bench.grid.playing():
            raise PlayError("a profile still plays when the next one is to be loaded: put both into one step")
        if step.recording is not None:
            return excerpt(step.recording, self.scenario.unit.nominal_v)
        v, segments = self.here.v_v, []
        for s in step.grid:
            v_v = None
            if s.v_pu is not None:
                v_v = v = _on_phases(v, s, self.scenario.unit.nominal_v)
            segments.append(
                Segment(s.dt_s, s.shape, v_v, s.f_hz, s.jump_deg, s.harmonics, s.phases if s.jump_deg else "abc")
            )
        return segments

    def _break(self, step: Step) -> None:
        bench = self.bench
        if step.mend:
            bench.fault.clear()
        for name, value in step.fault:
            bench.fault.insert(name, value)
        if step.island:
            tune = dict(step.island)
            fed_w, q_var = -sum(bench.recorder.latest(name) for name in self._both("ac_w")), 0.0
            if tune["reactive"]:
                fed_w, q_var = -self._mean("ac_w"), self._mean("ac_var")
            if fed_w <= 0.0:
                raise PlayError(f"an island is balanced to what the charger feeds in, and it feeds in {fed_w:.0f} W")
            bench.load.tune(fed_w, tune["qf"], self.here.v_v[0], self.here.f_hz, tune["dp"], tune["dc"], q_var)
        if step.switch == "open":
            bench.load.open_switch()
        elif step.switch == "close":
            bench.load.close_switch()

    def _mean(self, channel: str) -> float:
        """Of all chargers, over half a second from now on: anti-islanding moves the reactive power a little all the
        time."""
        found = 0.0
        for _ in range(MEAN_SAMPLES):
            self.bench.clock.wait(MEAN_S / MEAN_SAMPLES)
            found += sum(self.bench.recorder.latest(name) for name in self._both(channel))
        return found / MEAN_SAMPLES

    def _both(self, channel: str) -> tuple[str, ...]:
        """The channel and that of the second charger, where there is one."""
        return tuple(name for name in (channel, f"n_{channel}") if name in self.bench.recorder.channels())

    def _people(self, step: Step) -> None:
        bench = self.bench
        if step.car:
            bench.ev.say(dict(step.car))
        if step.plug is True:
            bench.ev.plug_in()
        elif step.plug is False:
            bench.ev.unplug()
        if step.ask_w is not None:
            bench.unit.ask(step.ask_w)
        if step.lease is False:
            bench.unit.let_lease_end()
        if step.controls is not None:
            bench.unit.set_controls(step.controls)
        if step.operator:
            bench.unit.operator(step.operator)


def _on_phases(v: Volts, s: GridSegment, nominal_v: float) -> Volts:
    assert s.v_pu is not None
    a, b, c = (s.v_pu * nominal_v if phase in s.phases else x for phase, x in zip("abc", v, strict=True))
    return (a, b, c)


def excerpt(recording: Recording, nominal_v: float, row_s: float = 2.0) -> list[Segment]:
    """The recording between two of its times, as ramps from row to row (its rows are 2 s apart); the first segment
    goes from wherever the grid stands to the excerpt's beginning."""
    source = toledo(recording.from_s, scaled_v=nominal_v)
    segments, t = [], 0.0
    while t <= recording.to_s - recording.from_s + 1e-9:
        v, f_hz = source.course(t)
        segments.append(Segment(row_s, "ramp", v, f_hz))
        t += row_s
    return segments
