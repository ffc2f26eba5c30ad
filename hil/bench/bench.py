"""A bench as a whole: all roles together, the way to leave it safe, and what is asserted about the charger then."""

from __future__ import annotations

from typing import Protocol

from hil.bench.profile import GridPoint
from hil.bench.roles import (
    Clock,
    EvEmulator,
    FaultBox,
    GridEmulator,
    IslandLoad,
    Recorder,
    Unit,
)

SETTLE_S = 40.0  # a fault's hold time (10 s), a restart of the module and a car that says goodbye, with margin
CLEAR_AFTER_S = 0.5  # faults that were mended need a reading each before an operator can clear them


class Bench(Protocol):
    """Every role, and the point at which the grid stands when nothing is tested."""

    simulated: bool
    nominal: GridPoint

    @property
    def grid(self) -> GridEmulator: ...
    @property
    def load(self) -> IslandLoad: ...
    @property
    def ev(self) -> EvEmulator: ...
    @property
    def recorder(self) -> Recorder: ...
    @property
    def fault(self) -> FaultBox: ...
    @property
    def unit(self) -> Unit: ...
    @property
    def clock(self) -> Clock: ...
    def close(self) -> None: ...


def settle(bench: Bench) -> list[str]:
    """Mend and end everything, wait for the charger to come to rest under a healthy grid, and say what is still wrong
    with it then: one sentence each, [] when it is healthy. To be called after every test."""
    bench.unit.let_lease_end()
    bench.unit.set_controls(())
    bench.fault.clear()
    bench.ev.off()
    bench.load.off()
    bench.grid.output(True)
    bench.grid.steady(bench.nominal)
    bench.clock.wait(CLEAR_AFTER_S)
    bench.unit.operator("start")
    bench.unit.operator("clear")
    bench.clock.wait_until(lambda: not bench.unit.health(), SETTLE_S)
    return bench.unit.health()


def shut(bench: Bench) -> None:
    """Everything off, the grid last: nothing is left energised when the bench is left alone."""
    try:
        bench.unit.let_lease_end()
        bench.unit.set_controls(())
        bench.ev.off()
        bench.load.off()
    finally:
        try:
            bench.grid.off()
        finally:
            bench.close()
