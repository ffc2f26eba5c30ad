"""pytest on a bench: `pytest --bench bench.toml`, and the fixtures `bench`, `grid`, `load`, `ev`, `recorder`, `fault`,
`unit` and `clock`.

    @pytest.mark.charger(code="ieee1547_2018_cat3", soc=0.5)  # what stands on a simulated bench
    def test_it_ceases(grid, unit, recorder, fault): ...

Without --bench everything is simulated and each test gets a charger of its own. With a real bench all tests share it.
After every test everything is mended and ended, and the charger must come to rest without a fault: a test that leaves
it unhealthy is an error in its teardown, whatever the test itself said.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # loaded with every run of pytest in this environment: nothing heavy at import
    from hil.bench.bench import Bench
    from hil.bench.config import BenchConfig

_CONFIG: pytest.StashKey[BenchConfig] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("quadrant", "a charger on a bench")
    group.addoption("--bench", metavar="FILE", default=None, help="bench.toml; without it the bench is simulated")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "charger(**spec): the charger on a simulated bench (fields of hil.bench.sim.SimSpec)"
    )
    path = config.getoption("--bench", None)
    if path is None:
        return
    from hil.bench.config import load
    from hil.bench.strict import TableError

    try:
        config.stash[_CONFIG] = load(Path(path))
    except TableError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def _real_bench(request: pytest.FixtureRequest) -> Iterator[Bench | None]:
    from hil.bench.bench import shut
    from hil.bench.config import BenchConfig

    config = request.config.stash.get(_CONFIG, BenchConfig())
    if config.simulated:
        yield None
        return
    from hil.bench.real import open_bench

    bench = open_bench(config)
    yield bench
    shut(bench)


@pytest.fixture
def bench(request: pytest.FixtureRequest, _real_bench: Bench | None) -> Iterator[Bench]:
    """All roles. Its teardown asserts the unit's health."""
    from hil.bench.bench import settle, shut
    from hil.bench.sim import SimBench, SimSpec

    here: Bench
    if _real_bench is None:
        marker = request.node.get_closest_marker("charger")
        here = SimBench(SimSpec(**(marker.kwargs if marker else {})))
    else:
        here = _real_bench
    yield here
    wrong = settle(here)
    if _real_bench is None:
        shut(here)
    assert not wrong, f"the charger is not healthy after this test: {'; '.join(wrong)}"


@pytest.fixture
def grid(bench: Bench) -> Any:
    return bench.grid


@pytest.fixture
def load(bench: Bench) -> Any:
    return bench.load


@pytest.fixture
def ev(bench: Bench) -> Any:
    return bench.ev


@pytest.fixture
def recorder(bench: Bench) -> Any:
    return bench.recorder


@pytest.fixture
def fault(bench: Bench) -> Any:
    return bench.fault


@pytest.fixture
def unit(bench: Bench) -> Any:
    return bench.unit


@pytest.fixture
def clock(bench: Bench) -> Any:
    return bench.clock
