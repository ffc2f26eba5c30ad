"""Many scenarios, one after another or on several processes; each gets a bench of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from hil.bench.bench import Bench
from hil.bench.sim import SimBench, SimSpec
from hil.scenarios.play import Result, run
from hil.scenarios.schema import Scenario
from hil.sim import Sim

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_ERROR = 0, 1, 2, 3, 4


def sim_bench(scenario: Scenario, seed: int = 1) -> Bench:
    """A fresh simulated bench with the charger that the scenario names."""
    return SimBench(spec_of(scenario, seed))


def spec_of(scenario: Scenario, seed: int = 1, bend: Callable[[Sim], None] | None = None) -> SimSpec:
    """The charger that the scenario names. bend: makes a broken one of it."""
    unit = scenario.unit
    return SimSpec(
        unit.board, unit.code, unit.adjust, unit.nominal_v, unit.nominal_hz, scenario.start.soc, seed, bend,
        services=unit.services, neighbour_w=unit.neighbour_w,
    )  # fmt: skip


def run_simulated(scenario: Scenario, seed: int = 1) -> Result:
    return run(scenario, partial(sim_bench, seed=seed))


def run_all(
    scenarios: Sequence[Scenario], play_one: Callable[[Scenario], Result], jobs: int = 1
) -> Iterator[tuple[int, Result]]:
    """(place in `scenarios`, result) as they come. A worker that dies takes only its own scenario with it: ERROR."""
    if jobs <= 1:
        for place, scenario in enumerate(scenarios):
            yield place, play_one(scenario)
        return
    # spawn: nothing of this process (sockets, threads, a half-read terminal) gets into the workers
    context = multiprocessing.get_context("spawn")
    left = dict(enumerate(scenarios))
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(play_one, scenario): place for place, scenario in left.items()}
        for future in as_completed(futures):
            place = futures[future]
            try:
                result = future.result()
            except Exception as error:  # the pool's own (a worker died) or a defect of ours: not a verdict
                scenario = left[place]
                result = Result(scenario.name, scenario.title, scenario.tags, [])
                result.error = f"the worker failed: {type(error).__name__}: {error}"
            yield place, result


def exit_code(results: Sequence[Result]) -> int:
    """FAIL first: it is what somebody must look at; then what could not be judged at all."""
    verdicts = [result.verdict.value for result in results]
    for name, code in (("FAIL", EXIT_FAIL), ("ERROR", EXIT_ERROR), ("INCONCLUSIVE", EXIT_INCONCLUSIVE)):
        if name in verdicts:
            return code
    return EXIT_PASS
