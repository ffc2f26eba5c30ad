"""Plays one case and makes a record of it: verdicts, what the capture showed, its plot and its files.

The way to a case's beginning (entering service, a session, the ramp) is played once per charger and settings and
process; every case goes on from a copy of that moment, exactly as the original would (tests/conformance).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from boards import BoardError
from firmware.build import how
from firmware.grid_codes import GridCodeError
from firmware.recorder.comtrade import Analog, Record, Status, cfg, dat
from hal.ports import HalError
from hil.bench.bench import Bench
from hil.bench.capture import Capture
from hil.bench.roles import BenchError
from hil.bench.sim import SimBench, SimSpec
from hil.bench.sim_grid import SIM_GRID
from hil.conformance.case import Case
from hil.conformance.plot import plots
from hil.conformance.wrong import WRONG
from hil.frozen import Frozen
from hil.scenarios.play import PlayError, Result, lead_in, run
from hil.scenarios.schema import Start

PACKAGES = ("firmware", "hal", "boards", "hil")
KEPT = 2  # beginnings kept per process


@dataclass
class Done:
    """What is known of a case afterwards; goes through JSON unchanged. files: stem of its COMTRADE capture."""

    key: str
    id: str
    suite: str
    clause: str
    title: str
    verdict: str
    error: str = ""
    outcomes: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, float] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    sim_s: float = 0.0
    wall_s: float = 0.0
    files: str = ""
    sha256: str = ""
    plots: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Job:
    """A case with everything its worker needs. wrong: name of a wrong charger (wrong.py); "" = the right one."""

    case: Case
    key: str
    seed: int = 1
    wrong: str = ""
    given: tuple[str, str] = ("", "")  # hashes of the profile and of the bench, part of the key


def failed(job: Job, why: str) -> Done:
    case = job.case
    return Done(job.key, case.id, case.suite, case.clause, case.scenario.title, "ERROR", why)


# ----------------------------------------------------------------------------------------------------------- identities
@cache
def code_hash() -> str:
    """SHA-256 over every source and data file of the packages that take part."""
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".toml", ".dbc", ".csv") and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Of what the results may depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "build": how()}
    for name in ("quadrant", "numpy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def bench_hash(file: Path | None) -> str:
    text = repr(SIM_GRID).encode() if file is None else file.read_bytes()
    return hashlib.sha256(text).hexdigest()


def job_of(case: Case, profile: str, bench: str, seed: int = 1, wrong: str = "") -> Job:
    """profile, bench: their hashes. The key under which the result is kept changes with all that it may depend on."""
    said = [repr(case), code_hash(), profile, bench, json.dumps(versions(), sort_keys=True), seed, wrong]
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    return Job(case, key, seed, wrong, (profile, bench))


def job_like(job: Job, case: Case) -> Job:
    """Another case on the same charger."""
    return job_of(case, *job.given, job.seed, job.wrong)


# -------------------------------------------------------------------------------------------------------------- playing
_begun: dict[str, Frozen[SimBench]] = {}


def beginning(job: Job) -> SimBench:
    """A bench of its own at the case's beginning. Raises what opening a bench and the way there may raise."""
    scenario = job.case.scenario
    key = repr((scenario.unit, scenario.start, job.seed, job.wrong))
    if key not in _begun:
        unit = scenario.unit
        bend = WRONG[job.wrong].bend if job.wrong else None
        spec = SimSpec(
            unit.board, unit.code, unit.adjust, unit.nominal_v, unit.nominal_hz, scenario.start.soc, job.seed, bend
        )
        bench = SimBench(spec)
        lead_in(scenario, bench)
        while len(_begun) >= KEPT:
            del _begun[next(iter(_begun))]
        _begun[key] = Frozen(bench)
    return _begun[key].thaw()


def play(job: Job) -> Result:
    """On the simulated bench. Never raises for what a charger or a rig may do: that is a verdict."""
    scenario = job.case.scenario
    try:
        bench: Bench = beginning(job)
    except (BenchError, PlayError, BoardError, GridCodeError, HalError) as error:
        return Result(scenario.name, scenario.title, scenario.tags, [], f"the beginning was not reached: {error}")
    return run(replace(scenario, start=Start("cold")), lambda _: bench)


def perform(job: Job, out: Path | None, player: Callable[[Job], Result] = play) -> Done:
    """Play, judge, write the capture under `out`, draw."""
    case = job.case
    result = player(job)
    done = Done(
        job.key, case.id, case.suite, case.clause, case.scenario.title, result.verdict.value, result.error,
        [{**asdict(o), "verdict": o.verdict.value} for o in result.outcomes],
        dict(case.scenario.unit.adjust), dict(result.capture.about) if result.capture else {},
        round(result.sim_s, 3), round(result.wall_s, 3),
    )  # fmt: skip
    if result.capture is not None and result.capture.t:
        record = comtrade_of(result.capture, case)
        data = dat(record)
        done.sha256 = hashlib.sha256(data).hexdigest()
        done.plots = plots(result.capture, case.scenario)
        if out is not None:
            done.files = f"captures/{job.key}"
            (out / "captures").mkdir(parents=True, exist_ok=True)
            (out / f"{done.files}.dat").write_bytes(data)
            (out / f"{done.files}.cfg").write_text(cfg(record), encoding="ascii", newline="")
    return done


def comtrade_of(capture: Capture, case: Case) -> Record:
    """Every channel; switches and flags as status channels. Time 0 is the first sample."""
    switches = [n for n, c in capture.channels.items() if not c.unit and set(capture.series[n]) <= {0.0, 1.0}]
    first = capture.t[0]
    return Record(
        "quadrant rig",
        case.id.encode("ascii", "replace").decode().replace(",", ";")[:64],
        case.scenario.unit.nominal_hz,
        [t - first for t in capture.t],
        [Analog(n, c.unit, capture.series[n]) for n, c in capture.channels.items() if n not in switches],
        [Status(n, [x > 0.5 for x in capture.series[n]]) for n in switches],
    )
