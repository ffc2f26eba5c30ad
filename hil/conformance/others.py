"""Phase jumps and unintentional islanding: the suites that need a few lines each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hil.conformance.case import CLOSED, OPEN, Case, Subject, quick
from hil.conformance.characteristics import Works, at_work
from hil.conformance.engine import Done, Job, job_like
from hil.conformance.ride import latest
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S, AFTER_S = 0.5, 3.0
ISLAND_AT_S = 1.5
RUN_ON_S = 1.0  # recorded beyond the limit
SET_S = 0.3  # a control is set
TUNED_S = 1.0  # that long a load is tuned to active and reactive power


def phase_jump(subject: Subject) -> tuple[list[Case], list[str]]:
    """One phase alone by 60 degrees, or all together by 20, there and back (IEEE 1547.1, Table 9)."""
    m = subject.matrix
    if "phase_jump.rows" not in m.lists:
        return [], ["phase-jump: this matrix has no procedure"]
    found, left_out = [], []
    for name, a, b, c, least_s, _most_s in m.lists["phase_jump.rows"]:
        moved = {
            phase: round((x - base + 180.0) % 360.0 - 180.0, 1)
            for phase, x, base in (("a", a, 0.0), ("b", b, 120.0), ("c", c, 240.0))
        }
        jumps = set(moved.values()) - {0.0}
        phases = "".join(phase for phase, x in moved.items() if x)
        if len(jumps) != 1 or (phases != "abc" and not subject.caps.phase_each):
            left_out.append(f"phase-jump {name}: this source cannot turn the phases so")
            continue
        runs = range(int(m("phase_jump.repeats")))
        found += [_jump(subject, name, jumps.copy().pop(), phases, least_s, n) for n in runs]
    return found, left_out


def _jump(subject: Subject, name: str, jump: float, phases: str, hold_s: float, n: int) -> Case:
    m = subject.matrix
    power_w = -subject.rated_w * m("ride_through.high_power_pu")
    amps = Band("ac_a", low=m("ride_through.current_min_pu") * 0.95 * abs(power_w) / (3.0 * subject.nominal_v))
    back_s, between_s = m("phase_jump.back_s"), m("phase_jump.between_s")
    begin_s = round(BEFORE_S + n * 0.0037, 4)
    end_s = begin_s + hold_s + between_s
    says = f"Table 9, condition {name} ({m.origin['phase_jump']}): "
    musts = [Must("always", says + "stays connected", band=CLOSED, until_s=end_s)]
    if hold_s > back_s:
        because = says + m.because("phase_jump.back_s")
        musts.append(Must("always", because, "jump", band=amps, from_s=back_s, until_s=hold_s))
    musts.append(
        Must("always", says + "and after the jump back; " + m.because("phase_jump.back_s"), "jump", band=amps,
             from_s=hold_s + back_s, until_s=hold_s + between_s - 0.1)
    )  # fmt: skip
    every = phases == "abc"
    turned = Band("grid_turned_deg" if every else "grid_apart_deg", low=jump - 0.5, high=jump + 0.5)
    who = "all phases" if every else f"phase {phases}"
    return subject.case(
        "phase-jump",
        f"phase-jump/{name}/{n + 1}",
        f"{who} by {jump:+g} degrees for {hold_s:g} s and back",
        "phase-angle change ride-through",
        start=Start("transfer", power_w),
        steps=(
            Step(
                at_s=begin_s,
                grid=(
                    GridSegment(hold_s, "jump", phases=phases, jump_deg=jump),
                    GridSegment(5.0, "jump", phases=phases, jump_deg=-jump),
                ),
            ),
        ),
        instants=(Instant("jump", turned),),
        musts=tuple(musts),
        duration_s=end_s,
        adjust=quick(subject.code),
        record_hz=200.0,
    )


@dataclass(frozen=True, slots=True)
class Sweep:
    """Points of one islanding procedure. prefix: of its cases' ids. says: where the numbers come from."""

    suite: str
    prefix: str
    power_pu: float
    mismatch_pct: Sequence[tuple[float, float]]  # active power of the load, its capacitance
    qf: float
    pass_s: float
    says: str


def islanding(subject: Subject) -> tuple[list[Case], list[str]]:
    """A resonant load balanced to what is fed in, then the switch opens; protection set as late as it can be."""
    m = subject.matrix
    if "islanding.mismatch_pct" not in m.lists:
        return [], ["islanding: this matrix has no procedure of its own; see the suite iec62116"]
    says = f"{m.because('islanding.pass_s', 'islanding.qf')}; point: {m.origin['islanding']}"
    sweeps = [
        Sweep("islanding", f"islanding/P {power:g}", float(power), m.lists["islanding.mismatch_pct"],
              m("islanding.qf"), m("islanding.pass_s"), says)
        for power in m.lists["islanding.powers_pu"]
    ]  # fmt: skip
    found, left_out = [case for sweep in sweeps for case in islands(subject, sweep)], []
    for name, power, characteristic in m.lists.get("islanding.reactive", ()):
        works = at_work(subject, characteristic)
        if isinstance(works, str):
            left_out.append(f"islanding, case {name}: {works}")
            continue
        pairs = m.lists["islanding.reactive_pct"]
        sweep = Sweep("islanding", f"islanding/case {name}", float(power), pairs, m("islanding.qf"),
                      m("islanding.pass_s"), says)  # fmt: skip
        found += islands(subject, sweep, works)
    return found, left_out


def islands(subject: Subject, sweep: Sweep, works: Works | None = None) -> list[Case]:
    """One case for each point. works: a function that is at work."""
    settings = {**quick(subject.code), **latest(subject)}
    return [_island(subject, sweep, float(dp), float(dq), settings, works) for dp, dq in sweep.mismatch_pct]


def _island(
    subject: Subject, sweep: Sweep, dp: float, dq: float, settings: Mapping[str, float], works: Works | None
) -> Case:
    power, pass_s = sweep.power_pu, sweep.pass_s
    mismatch = (("dp", dp / 100.0), ("dc", dq / 100.0))
    steps: tuple[Step, ...] = (
        Step(at_s=BEFORE_S, island=(("qf", sweep.qf), *mismatch, ("reactive", 0.0))),
        Step(at_s=ISLAND_AT_S, switch="open"),
    )
    opens_s, with_it = ISLAND_AT_S, ""
    if works is not None:
        # The load takes the lift of the voltage away, so what a function of the voltage asks for moves once more: it
        # is balanced twice, and what was measured last counts.
        first_s, then_s = works.settle_s
        at_s = (SET_S, SET_S + first_s, SET_S + first_s + TUNED_S + then_s)
        balance = (("qf", sweep.qf), ("dp", 0.0), ("dc", 0.0), ("reactive", 1.0))
        last = (("qf", sweep.qf), *mismatch, ("reactive", 1.0))
        opens_s = round(at_s[2] + TUNED_S + 0.5, 4)
        steps = (
            Step(at_s=at_s[0], controls=works.controls),
            Step(at_s=round(at_s[1], 4), island=balance),
            Step(at_s=round(at_s[2], 4), island=last),
            Step(at_s=opens_s, switch="open"),
        )
        with_it = f", {works.title} at work"
    return subject.case(
        sweep.suite,
        f"{sweep.prefix}/P {dp:+g} %, C {dq:+g} %/1",
        f"{power:g} pu fed into a resonant load of quality factor {sweep.qf:g}, {dp:+g} % power, {dq:+g} % "
        f"capacitance{with_it}",
        "unintentional islanding",
        start=Start("transfer", -power * 0.95 * subject.rated_w if power > 0.95 else -power * subject.rated_w),
        steps=steps,
        instants=(Instant("island", Band("island", low=0.5)),),
        musts=(
            Must("always", "nothing trips before the switch opens", band=CLOSED, until_s=opens_s),
            Must("ceases", sweep.says, "island", within_s=pass_s),
            Must("reaches", sweep.says, "island", band=OPEN, within_s=pass_s, stays=True),
        ),
        duration_s=opens_s + pass_s + RUN_ON_S,
        adjust=settings,
    )


_TIME = re.compile(r"([0-9.]+) s")


def run_on_s(done: Done) -> float:
    """How long the island lasted, from the verdict's own words; 0 when it cannot be told."""
    found = [_TIME.search(o["found"]) for o in done.outcomes if o["what"].startswith("current ceases")]
    return max((float(hit.group(1)) for hit in found if hit), default=0.0)


def follow_up(jobs: Sequence[Job], results: Mapping[str, Done], longest: int = 3) -> list[Job]:
    """The islands that lasted longest, twice more each. [] when they are already among the jobs."""
    if any(job.case.suite == "islanding" and not job.case.id.endswith("/1") for job in jobs):
        return []
    islands = [job for job in jobs if job.case.suite == "islanding"]
    islands.sort(key=lambda job: -run_on_s(results[job.key]))
    return [_again(job, n) for job in islands[:longest] for n in (2, 3)]


def _again(job: Job, n: int) -> Job:
    scenario = job.case.scenario
    later_s = (n - 1) * 0.137
    *first, second = scenario.steps
    name = job.case.id.rsplit("/", 1)[0] + f"/{n}"
    moved = replace(
        scenario,
        name=name,
        duration_s=scenario.duration_s + later_s,
        steps=(*first, replace(second, at_s=round((second.at_s or 0.0) + later_s, 4))),
    )
    return job_like(job, replace(job.case, id=name, scenario=moved))
