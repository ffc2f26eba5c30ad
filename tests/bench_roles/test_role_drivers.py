"""Every driver of every role but the grid under the same tests as its brothers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.grid_support.controls import ControlRefused, control_of
from firmware.services.control import Refused
from hil.bench.config import RigLimits, RoleConfig
from hil.bench.manual import ManualEv, ManualFaults, ManualLoad, Operator
from hil.bench.real import ChargerUnit, PollingRecorder, RealClock
from hil.bench.scpi import instrument
from hil.bench.scpi_grid import ScpiDc
from hil.bench.sim import SimBench, SimSpec
from hil.bench.watch import LimitedEv
from tests.bench_roles.role_conformance import (
    ClockConformance,
    EvConformance,
    FaultConformance,
    LoadConformance,
    RecorderConformance,
    Recording,
    UnitConformance,
)
from tests.bench_roles.scpi_device import DcSupply
from tests.fake_charger import Served, served

SNAPSHOT: dict[str, Any] = {
    "state": "idle", "why": "no car", "faults": [], "converter_ready": True, "grid_state": "connected",
    "contactor_dc": False, "contactor_precharge": False, "measured_w": 0.0,
}  # fmt: skip
DC = instrument("dc_supply", "dc_supply")


def person(text: str) -> str:
    return "55" if "%" in text else "y"


@pytest.fixture
def bench() -> SimBench:
    return SimBench(SimSpec())


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Served]:
    """A control socket whose charger checks controls as the real one does."""
    with served(tmp_path, SNAPSHOT) as charge:
        fake = charge.charger.grid
        book: set[str] = set()

        def controls_set(
            controls: list[dict[str, Any]], source: str, replace: list[str], confirm_s: float | None
        ) -> dict[str, Any]:
            try:
                made = {control_of(table, 0.0, source).id for table in controls}
            except ControlRefused as error:
                raise Refused(str(error)) from None
            assert set(replace) <= book
            book.difference_update(replace)
            assert not made & book
            book.update(made)
            return {"told": [], **fake.show()}

        def controls_clear(control: str, source: str) -> dict[str, Any]:
            if control not in book:
                raise Refused(f"there is no control {control!r}")
            book.remove(control)
            return {"told": [], **fake.show()}

        fake.set, fake.clear = controls_set, controls_clear  # type: ignore[method-assign]
        yield charge


class TestSimLoad(LoadConformance):
    @pytest.fixture
    def load(self, bench: SimBench) -> object:
        return bench.load


class TestManualLoad(LoadConformance):
    @pytest.fixture
    def load(self) -> ManualLoad:
        return ManualLoad(Operator(person))


class TestSimEv(EvConformance):
    @pytest.fixture
    def ev(self, bench: SimBench) -> object:
        return bench.ev


class TestManualEv(EvConformance):
    any_command = True

    @pytest.fixture
    def ev(self) -> ManualEv:
        return ManualEv(Operator(person))


class TestScpiEv(EvConformance):
    knows_soc = False

    @pytest.fixture
    def ev(self) -> Iterator[object]:
        device = DcSupply()
        driver = ScpiDc(device.address, DC, device.advance)
        yield driver
        driver.close()
        device.close()


class TestScpiEvBehindTheRigsLimits(EvConformance):
    knows_soc = False

    @pytest.fixture
    def ev(self) -> Iterator[object]:
        device = DcSupply()
        driver = ScpiDc(device.address, DC, device.advance)
        yield LimitedEv(driver, RigLimits())
        driver.close()
        device.close()


class TestSimFaults(FaultConformance):
    @pytest.fixture
    def fault(self, bench: SimBench) -> object:
        return bench.fault


class TestManualFaults(FaultConformance):
    @pytest.fixture
    def fault(self) -> ManualFaults:
        return ManualFaults(Operator(person))


class TestSimRecorder(RecorderConformance):
    @pytest.fixture
    def recording(self, bench: SimBench) -> Recording:
        return Recording(bench.recorder, bench.clock.wait)


class TestPollingRecorder(RecorderConformance):
    @pytest.fixture
    def recording(self, bench: SimBench, charger: Served, tmp_path: Path) -> Recording:
        role = RoleConfig("polling", serial="0815")
        recorder = PollingRecorder(bench.grid, ChargerUnit(tmp_path), 230.0, role)
        return Recording(recorder, lambda seconds: recorder.tick())


class TestSimClock(ClockConformance):
    @pytest.fixture
    def clock(self, bench: SimBench) -> object:
        return bench.clock


class TestRealClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> RealClock:
        return RealClock(lambda: None)


class TestSimUnit(UnitConformance):
    @pytest.fixture
    def unit(self, bench: SimBench) -> object:
        bench.clock.wait(0.1)
        return bench.unit


class TestCharger(UnitConformance):
    @pytest.fixture
    def unit(self, charger: Served, tmp_path: Path) -> ChargerUnit:
        return ChargerUnit(tmp_path)

    def test_an_event_of_the_socket_comes_home_on_the_benchs_clock(self, charger: Served, tmp_path: Path) -> None:
        (event,) = ChargerUnit(tmp_path).events(0.0)
        assert (event.code, event.detail, event.cleared) == ("grid_trip", "UF1", False)

    def test_controls_that_it_set_are_replaced_and_none_stays(self, charger: Served, tmp_path: Path) -> None:
        unit = ChargerUnit(tmp_path)
        unit.set_controls([{"id": "a", "kind": "fixed_var", "q_pu": 0.1}])
        unit.set_controls([{"id": "a", "kind": "fixed_var", "q_pu": 0.2}])  # the same id in its own place
        unit.set_controls(())


def test_every_driver_that_a_bench_file_may_name_is_under_these_tests() -> None:
    from hil.bench.config import DRIVERS

    here = Path(__file__).read_text() + (Path(__file__).parent / "test_grid_drivers.py").read_text()
    classes = " ".join(re.findall(r"^class (Test\w+)\(\w+Conformance", here, re.M)).lower()
    names = {
        "load": {"sim": "simload", "manual": "manualload"},
        "ev": {"sim": "simev", "scpi": "scpiev", "manual": "manualev"},
        "recorder": {"sim": "simrecorder", "polling": "pollingrecorder"},
        "fault": {"sim": "simfaults", "manual": "manualfaults"},
        "unit": {"sim": "simunit", "charger": "testcharger"},
        "clock": {"sim": "simclock", "real": "realclock"},
        "grid": {"sim": "testsimulated", "scpi": "testscpi", "manual": "testbyhand"},
    }
    assert {role: set(found) for role, found in names.items()} == {role: set(d) for role, d in DRIVERS.items()}
    for role, drivers in names.items():
        for driver, wanted in drivers.items():
            assert wanted in classes, (role, driver)
