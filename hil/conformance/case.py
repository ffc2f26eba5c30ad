"""A case: one run of a test procedure, as a scenario that the bench's runner plays and judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from firmware.grid_codes import Chain, Confidence, GridCode, Quantity, RideThroughMode, RideThroughRow, Setting
from hil.bench.profile import GridCaps
from hil.conformance.matrix import Matrix
from hil.scenarios.schema import Scenario, Start, Step, UnitUnderTest
from hil.scenarios.verdict import Band, Instant, Must

SUITES = ("trips", "ride-through", "enter-service", "support", "phase-jump", "rocof", "islanding", "iec62116")
CLOSED = Band("k_grid", low=0.5)
OPEN = Band("k_grid", high=0.5)
PHASES = {"L1": "a", "L2": "b", "L3": "c", "all": "abc"}
FLOW = (RideThroughMode.CONTINUOUS, RideThroughMode.MANDATORY)  # modes in which power flows
LONGEST_FINE_S = 40.0  # up to here 1000 samples a second are kept; a clearing time of minutes does not need them


@dataclass(frozen=True, slots=True)
class Case:
    """id: unique in a campaign, "trips/OV2/all/2". clause: of the grid code."""

    id: str
    suite: str
    clause: str
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested: a code on a board with its reaction chain, by a matrix, with a source that can play so much.

    nominal_v: where the charger stands (V phase to neutral); the codes' limits are shares of it."""

    code: GridCode
    matrix: Matrix
    chain: Chain
    caps: GridCaps
    board: str = "desk"
    nominal_v: float = 230.0
    rated_w: float = 22_000.0

    def case(
        self,
        suite: str,
        name: str,
        title: str,
        clause: str,
        *,
        start: Start,
        steps: tuple[Step, ...],
        instants: tuple[Instant, ...],
        musts: tuple[Must, ...],
        duration_s: float,
        adjust: Mapping[str, float],
        record_hz: float = 0.0,
    ) -> Case:
        record = record_hz or (1000.0 if duration_s <= LONGEST_FINE_S else 100.0 if duration_s <= 500.0 else 50.0)
        unit = UnitUnderTest(self.board, self.code.name, dict(adjust), self.nominal_v, self.code.nominal_f_hz)
        scenario = Scenario(
            name, title, "", (suite,), round(duration_s, 4), record, unit, start, steps, instants, musts, health=False
        )
        return Case(name, suite, self.code.cite(clause), scenario)


def movable(s: Setting) -> bool:
    """May a test move this number in its range? Not in one that is only remembered."""
    conf = s.conf if s.range_conf is None else s.range_conf
    return s.min is not None and s.max is not None and s.min < s.max and conf is not Confidence.LOW


def quick(code: GridCode) -> dict[str, float]:
    """Adjustments that bring the charger to its power as soon as the code permits: no test but that of entering
    service is about them."""
    es, found = code.enter_service, {}
    if movable(es.delay_s) and es.delay_s.min is not None:
        found["enter_service.delay_s"] = es.delay_s.min
    if es.ramp_duration_s is not None and movable(es.ramp_duration_s) and es.ramp_duration_s.min is not None:
        found["enter_service.ramp_duration_s"] = es.ramp_duration_s.min
    if es.ramp_pu_per_min is not None and movable(es.ramp_pu_per_min) and es.ramp_pu_per_min.max is not None:
        found["enter_service.ramp_pu_per_min"] = es.ramp_pu_per_min.max
    return found


def row_at(subject: Subject, value: float, quantity: Quantity = Quantity.VOLTAGE) -> RideThroughRow | None:
    """The believed row of the code that holds a value (pu or Hz); the milder one on an edge."""
    rows = [r for r in subject.code.ride_through if r.quantity is quantity and r.verified]
    inside = [r for r in rows if r.lo.value <= value <= r.hi.value]
    return next((r for r in inside if r.mode in FLOW), inside[0] if inside else None)
