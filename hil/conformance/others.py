"""Phase jumps, unintentional islanding, and the droop: the suites that need a few lines each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from firmware.grid_codes import GridCodeError
from hil.bench.strict import TableError
from hil.conformance.case import CLOSED, OPEN, Case, Subject, quick
from hil.conformance.engine import Done, Job, job_like
from hil.conformance.ride import latest
from hil.scenarios.schema import GridSegment, Start, Step
from hil.scenarios.verdict import Band, Instant, Must

BEFORE_S, AFTER_S = 0.5, 3.0
ISLAND_AT_S = 1.5
RUN_ON_S = 1.0  # recorded beyond the limit


def phase_jump(subject: Subject) -> tuple[list[Case], list[str]]:
    """All phases together there and back; a jump of one phase needs a source with an angle for each."""
    m = subject.matrix
    if "phase_jump.rows" not in m.lists:
        return [], ["phase-jump: this matrix has no procedure"]
    found, left_out = [], []
    power_w = -subject.rated_w * m("ride_through.high_power_pu")
    amps = Band("ac_a", low=m("ride_through.current_min_pu") * 0.95 * abs(power_w) / (3.0 * subject.nominal_v))
    for name, a, b, c, least_s, _most_s in m.lists["phase_jump.rows"]:
        turned = {round((x - base + 180.0) % 360.0 - 180.0, 1) for x, base in ((a, 0.0), (b, 120.0), (c, 240.0))}
        if len(turned) > 1:
            left_out.append(f"phase-jump {name}: the phases jump by different angles, which this source cannot play")
            continue
        jump = turned.pop()
        for n in range(int(m("phase_jump.repeats"))):
            hold_s, back_s = least_s, m("phase_jump.back_s")
            begin_s = round(BEFORE_S + n * 0.0037, 4)
            end_s = begin_s + hold_s + m("phase_jump.between_s")
            origin = m.origin["phase_jump"]
            says = f"Table 9, condition {name} ({origin}): "
            musts = (
                Must("always", says + "stays connected", band=CLOSED, until_s=end_s),
                Must("always", says + m.because("phase_jump.back_s"), "jump", band=amps, from_s=back_s, until_s=hold_s),
                Must("always", says + "and after the jump back", "jump", band=amps, from_s=hold_s + back_s,
                     until_s=hold_s + m("phase_jump.between_s") - 0.1),
            )  # fmt: skip
            turned_by = Band("grid_turned_deg", low=jump - 0.5, high=jump + 0.5)
            found.append(
                subject.case(
                    "phase-jump",
                    f"phase-jump/{name}/{n + 1}",
                    f"all phases by {jump:+g} degrees for {hold_s:g} s and back",
                    "phase-angle change ride-through",
                    start=Start("transfer", power_w),
                    steps=(
                        Step(
                            at_s=begin_s,
                            grid=(GridSegment(hold_s, "jump", jump_deg=jump), GridSegment(5.0, "jump", jump_deg=-jump)),
                        ),
                    ),
                    instants=(Instant("jump", turned_by),),
                    musts=musts,
                    duration_s=end_s,
                    adjust=quick(subject.code),
                    record_hz=200.0,
                )
            )
    return found, left_out


def islanding(subject: Subject) -> tuple[list[Case], list[str]]:
    """A resonant load balanced to what is fed in, then the switch opens; protection set as late as it can be."""
    m = subject.matrix
    if "islanding.mismatch_pct" not in m.lists:
        return [], ["islanding: this matrix has no procedure"]
    settings = {**quick(subject.code), **latest(subject)}
    found = [
        _island(subject, float(power), float(dp), float(dq), 1, settings)
        for power in m.lists["islanding.powers_pu"]
        for dp, dq in m.lists["islanding.mismatch_pct"]
    ]
    return found, ["islanding: points with reactive power of the charger and with volt-var or watt-var at work"]


def _island(subject: Subject, power: float, dp: float, dq: float, n: int, settings: Mapping[str, float]) -> Case:
    m = subject.matrix
    pass_s = m("islanding.pass_s")
    says = f"{m.because('islanding.pass_s', 'islanding.qf')}; point: {m.origin['islanding']}"
    return subject.case(
        "islanding",
        f"islanding/P {power:g}/P {dp:+g} %, C {dq:+g} %/{n}",
        f"{power:g} pu fed into a resonant load of quality factor {m('islanding.qf'):g}, {dp:+g} % power, "
        f"{dq:+g} % capacitance",
        "unintentional islanding",
        start=Start("transfer", -power * 0.95 * subject.rated_w if power > 0.95 else -power * subject.rated_w),
        steps=(
            Step(at_s=BEFORE_S, island=(("qf", m("islanding.qf")), ("dp", dp / 100.0), ("dc", dq / 100.0))),
            Step(at_s=round(ISLAND_AT_S + (n - 1) * 0.137, 4), switch="open"),
        ),
        instants=(Instant("island", Band("island", low=0.5)),),
        musts=(
            Must("always", "nothing trips before the switch opens", band=CLOSED, until_s=ISLAND_AT_S),
            Must("ceases", says, "island", within_s=pass_s),
            Must("reaches", says, "island", band=OPEN, within_s=pass_s, stays=True),
        ),
        duration_s=ISLAND_AT_S + (n - 1) * 0.137 + pass_s + RUN_ON_S,
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
    first, second = scenario.steps
    name = job.case.id.rsplit("/", 1)[0] + f"/{n}"
    moved = replace(
        scenario,
        name=name,
        duration_s=scenario.duration_s + later_s,
        steps=(first, replace(second, at_s=ISLAND_AT_S + later_s)),
    )
    return job_like(job, replace(job.case, id=name, scenario=moved))


def support(subject: Subject) -> tuple[list[Case], list[str]]:
    """Power against frequency with the code's own droop, where the charger performs it."""
    missing = ["support: volt-var, volt-watt and watt-var (no procedure written yet)"]
    m, code = subject.matrix, subject.code
    section = code.section("freq_droop")
    if "support.frequencies_hz" not in m.lists or section is None or not section.enabled:
        return [], [*missing, "support: no droop in this matrix or code"]
    try:
        droop = [section.number(key).value for key in ("db_of_hz", "k_of", "olrt_s")]
    except (GridCodeError, TableError) as error:
        return [], [*missing, f"support: {error}"]
    return list(_droop(subject, *droop)), missing


def _droop(subject: Subject, band_hz: float, k: float, olrt_s: float) -> Iterator[Case]:
    m, nominal = subject.matrix, subject.code.nominal_f_hz
    asked_w = -subject.rated_w * m("support.power_pu")
    factor = m("general.accuracy_factor")
    hold_s = m("support.hold_olrt") * olrt_s
    for f_hz in m.lists["support.frequencies_hz"]:

        def power(f: float) -> float:
            return min(0.0, asked_w + subject.rated_w * max(0.0, f - nominal - band_hz) / (nominal * k))

        off_hz, off_w = factor * m("general.mra_f_hz"), factor * m("general.mra_p_pu") * subject.rated_w
        # What the charger loses between its two sides counts against neither: 5 % of what is asked for.
        low, high = power(f_hz - off_hz) - off_w, power(f_hz + off_hz) + off_w
        at = 0.5 * (nominal + f_hz)
        there = Band("grid_f_hz", low=at) if f_hz > nominal else Band("grid_f_hz", high=at)
        says = f"{subject.code.standard} frequency droop; {m.because('support.hold_olrt', 'general.mra_p_pu')}"
        yield subject.case(
            "support",
            f"support/droop {f_hz:g} Hz",
            f"{f_hz:g} Hz: {power(f_hz) / 1000:.2f} kW expected, {low / 1000:.2f} to {high / 1000:.2f} kW allowed",
            "frequency droop",
            start=Start("transfer", asked_w),
            steps=(Step(at_s=BEFORE_S, grid=(GridSegment(hold_s + 1.0, "step", f_hz=f_hz),)),),
            instants=(Instant("step", there),),
            musts=(Must("always", says, "step", band=Band("dc_w", low, high), from_s=0.75 * hold_s, until_s=hold_s),
                   Must("always", "stays connected", band=CLOSED)),
            duration_s=BEFORE_S + hold_s + 0.5,
            adjust=quick(subject.code),
        )  # fmt: skip
