"""bench.toml, the rig's limits, the watchdog, the simulated roles, and what is left behind after a test."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hil.bench.bench import settle
from hil.bench.config import BenchConfig, RigLimits, load
from hil.bench.profile import Compiled, GridCaps, GridPoint, Segment, compile_profile
from hil.bench.roles import BenchError, EvCaps, GridReading
from hil.bench.sim import SimBench, SimSpec
from hil.bench.strict import TableError
from hil.bench.watch import LimitedEv, LimitedGrid, Watchdog, WatchdogThread

NOMINAL = GridPoint((230.0, 230.0, 230.0), 60.0)
QUICK = {"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0}
REAL = """
[bench]
name = "lab 2"
[limits]
v_max_v = 260.0
[grid]
driver = "scpi"
instrument = "ac_source"
address = "tcp:192.0.2.7:5025"
serial = "0815"
cal_due = "2027-01-31"
[load]
driver = "manual"
[ev]
driver = "manual"
[recorder]
driver = "polling"
[fault]
driver = "manual"
[unit]
driver = "charger"
directory = "/tmp/charger"
[clock]
driver = "real"
"""


# ------------------------------------------------------------------------------------------------------- bench.toml
def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bench.toml"
    path.write_text(text)
    return path


def test_a_bench_of_instruments_loads_with_its_limits_and_serials(tmp_path: Path) -> None:
    config = load(written(tmp_path, REAL))
    assert not config.simulated
    assert config.limits.v_max_v == 260.0
    assert config.roles["grid"].serial == "0815"
    assert BenchConfig().simulated


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("v_max_v = 260.0", "v_maximum = 260.0", "no key 'v_maximum'"),
        ('driver = "scpi"', 'driver = "magic"', "must be one of sim, scpi, manual"),
        ('address = "tcp:192.0.2.7:5025"', 'address = "usb0"', "no address of an instrument"),
        ('address = "tcp:192.0.2.7:5025"', 'address = "tcp:192.0.2.7:99999"', "no address of an instrument"),
        ('address = "tcp:192.0.2.7:5025"', "", "'address' is missing"),
        ("v_max_v = 260.0", "v_max_v = -1", "a number from 0 to 1000"),
        ("v_max_v = 260.0", "v_max_v = nan", "a number from 0 to 1000"),
        ('driver = "real"', 'driver = "sim"', "one clock cannot serve both"),
        ("[clock]", "[clocks]", "'clock' is missing"),
        ('name = "lab 2"', "name = lab", "no TOML"),
    ],
)
def test_a_bench_file_is_read_strictly(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in REAL
    with pytest.raises(TableError, match=sentence):
        load(written(tmp_path, REAL.replace(old, new)))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        load(tmp_path / "none.toml")


# ------------------------------------------------------------------------------------------------------- rig limits
class FakeGrid:
    """Remembers what reached it."""

    caps = GridCaps(v_max_v=1000.0, f_range_hz=(1.0, 500.0))

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.reading = GridReading((230.0,) * 3, 50.0, (10.0, 10.0, 10.0), -5000.0)
        self.refuses_off = False

    def output(self, on: bool) -> None:
        self.calls.append(f"output {on}")

    def steady(self, point: GridPoint) -> None:
        self.calls.append("steady")

    def load(self, profile: Any) -> Compiled:
        self.calls.append("load")
        return compile_profile(profile, self.caps, NOMINAL)

    def arm(self) -> None:
        self.calls.append("arm")

    def fire(self) -> None:
        self.calls.append("fire")

    def abort(self) -> None:
        self.calls.append("abort")

    def playing(self) -> bool:
        return False

    def read(self) -> GridReading:
        return self.reading

    def off(self) -> None:
        self.calls.append("off")
        if self.refuses_off:
            raise BenchError("grid: the connection is lost")


def test_the_rigs_limits_stand_before_the_driver_whatever_the_instrument_could_do() -> None:
    fake = FakeGrid()
    grid = LimitedGrid(fake, RigLimits(v_max_v=260.0))
    with pytest.raises(BenchError, match="rig limit: steady: 300 V"):
        grid.steady(GridPoint((230.0, 300.0, 230.0), 50.0))
    with pytest.raises(BenchError, match="rig limit: segment 2: 70 Hz"):
        grid.load([Segment(0.1, "hold"), Segment(0.1, "step", None, 70.0)])
    with pytest.raises(BenchError, match="rig limit: segment 1: 261 V"):
        grid.load([Segment(0.1, "ramp", 261.0)])
    assert fake.calls == []
    grid.load([Segment(0.1, "ramp", 260.0)])
    assert fake.calls == ["load"]


@pytest.mark.parametrize(
    "reading",
    [GridReading((230.0,) * 3, 50.0, (10.0, 41.0, 10.0), 0.0), GridReading((230.0,) * 3, 50.0, None, -26_000.0)],
)
def test_too_much_current_or_power_switches_the_grid_off(reading: GridReading) -> None:
    fake = FakeGrid()
    grid = LimitedGrid(fake, RigLimits())
    grid.read()
    fake.reading = reading
    with pytest.raises(BenchError, match="the grid is off"):
        grid.read()
    assert fake.calls == ["off"]


class FakeEv:
    caps = EvCaps(1000.0, 500.0, 1e6, False)

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def plug_in(self) -> None: ...
    def unplug(self) -> None: ...
    def say(self, command: dict[str, Any]) -> None:
        self.said.append(command)

    def soc(self) -> float:
        return 0.5

    def off(self) -> None: ...


def test_the_dc_side_has_limits_too() -> None:
    fake = FakeEv()
    ev = LimitedEv(fake, RigLimits())
    for bad in ({"voltage_v": 501.0}, {"limits": [10.0, 81.0]}, {"v_max_v": 900.0}):
        with pytest.raises(BenchError, match="rig limit"):
            ev.say(bad)
    ev.say({"voltage_v": 500.0, "limits": [80.0, 80.0]})
    assert len(fake.said) == 1


# --------------------------------------------------------------------------------------------------------- watchdog
def test_a_silent_host_switches_every_output_off_even_when_one_refuses() -> None:
    first, second = FakeGrid(), FakeGrid()
    first.refuses_off = True
    dog = Watchdog(2.0, [first.off, second.off])
    assert not dog.poll(100.0)  # nothing was ever live
    dog.kick(100.0)
    assert not dog.poll(102.0)
    assert dog.poll(102.1)
    assert first.calls == second.calls == ["off"]
    assert dog.failures == ["BenchError: grid: the connection is lost"]
    assert dog.poll(200.0)
    assert second.calls == ["off"]  # once
    with pytest.raises(BenchError, match="silent for more than 2 s"):
        dog.kick(200.0)
    dog.rearm()
    dog.kick(300.0)


def test_the_watchdogs_thread_acts_in_real_time_and_ends() -> None:
    off = threading.Event()
    dog = Watchdog(0.05, [off.set])
    import time

    dog.kick(time.monotonic())
    thread = WatchdogThread(dog, threading.RLock())
    assert off.wait(60.0)
    thread.close()


def test_off_is_possible_after_the_watchdog() -> None:
    fake = FakeGrid()
    dog = Watchdog(1.0, [fake.off])
    now = [0.0]
    grid = LimitedGrid(fake, RigLimits(), lambda: dog.kick(now[0]))
    grid.output(True)
    dog.poll(5.0)
    with pytest.raises(BenchError, match="switched off"):
        grid.output(True)
    grid.off()


# --------------------------------------------------------------------------------------------------- simulated roles
@pytest.fixture
def bench() -> SimBench:
    return SimBench(SimSpec(adjust=QUICK))


@pytest.mark.parametrize("services", [False, True])
def test_every_fault_of_the_catalogue_can_be_made_and_mended(services: bool) -> None:
    bench = SimBench(SimSpec(adjust=QUICK, services=services))
    special = {
        "converter.drop_echoes": 1, "converter.drop_share": 0.1, "converter.delay_s": 0.01,
        "converter.corrupt_share": 0.1, "converter.error_code": 1, "converter.status_bits": ["St_FanFault"],
        "converter.ignore_mode": "echo", "converter.current_gain": 1.1, "converter.babble_hz": 10.0,
        "converter.reset": 0.1, "pilot.corrupt_next": 1, "pilot.swap_next": 1, "pilot.garbage_next": 1,
        "pilot.temperatures_c": [20.0, None, None, None], "pilot.self_test_failed": [1], "pilot.version": [1, 2, 3],
        "insulation.supply": False, "plant.leak_ohm": 5e4, "plant.ambient_c": 40.0,
        "guard.killed": 1.0, "services.killed": 1.0, "secc.killed": 1.0, "clock.jump_s": 60.0,
    }  # fmt: skip
    usual = bench.sim.link.as_dict()
    for name in bench.fault.catalogue:
        bench.fault.insert(name, special.get(name, True))
    assert bench.recorder.latest("faults") == len(bench.fault.catalogue)
    bench.fault.clear()
    assert bench.recorder.latest("faults") == 0.0
    assert bench.sim.link.as_dict() == usual
    assert bench.sim.guard_alive
    assert bench.sim.services.alive
    assert bench.sim.converter.faults == type(bench.sim.converter.faults)()
    bench.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("converter.fly", True), ("nothing", True), ("converter.drop_share", "x"), ("plant.leak_ohm", "low"),
     ("bus.off", 1), ("pilot.temperatures_c", [1])],
)  # fmt: skip
def test_a_fault_that_does_not_exist_is_refused_and_none_is_counted(bench: SimBench, name: str, value: object) -> None:
    with pytest.raises(BenchError, match="fault box"):
        bench.fault.insert(name, value)
    assert bench.recorder.latest("faults") == 0.0


def test_the_recorded_grid_is_what_the_source_gave_not_what_was_asked(bench: SimBench) -> None:
    bench.clock.wait(0.1)
    bench.recorder.start(1000.0)
    bench.grid.load([Segment(0.05, "hold"), Segment(0.1, "step", 115.0), Segment(0.1, "ramp", 230.0)])
    bench.grid.arm()
    bench.clock.wait(0.2)
    bench.grid.fire()
    bench.clock.wait(0.4)
    capture = bench.recorder.stop()
    first = next(t for t, v in zip(capture.t, capture.column("grid_vmin_pu"), strict=True) if v < 0.6)
    assert first - capture.t[0] == pytest.approx(0.25, abs=0.003)
    assert capture.column("grid_vmin_pu")[-1] == pytest.approx(1.0)
    assert len(capture.t) == pytest.approx(601, abs=1)


def test_refusals_of_the_simulated_roles_are_sentences(bench: SimBench) -> None:
    with pytest.raises(BenchError, match="1 to 1000"):
        bench.recorder.start(5000.0)
    with pytest.raises(BenchError, match="no channel"):
        bench.recorder.latest("colour")
    with pytest.raises(BenchError, match="does not run"):
        bench.recorder.stop()
    with pytest.raises(BenchError, match="may stop, start or clear"):
        bench.unit.operator("explode")
    with pytest.raises(BenchError, match="knows no command"):
        bench.ev.say({"fly": True})
    with pytest.raises(BenchError, match="load:"):
        bench.load.tune(1e6, 1.0, 230.0, 60.0)


def test_a_healthy_charger_settles_and_a_sick_one_is_told(bench: SimBench) -> None:
    bench.unit.ask(0.0)
    assert bench.clock.wait_until(lambda: bench.unit.status().ready, 60.0)
    bench.fault.insert("plant.estop")
    bench.clock.wait(0.5)
    assert settle(bench) == []
    bench.fault.clear = lambda: None  # type: ignore[method-assign]  # nobody mends it
    bench.fault.insert("plant.estop")
    bench.clock.wait(0.5)
    wrong = settle(bench)
    assert any("pilot_estop" in sentence for sentence in wrong)


def test_who_records_changes_nothing() -> None:
    def story(rate_hz: float | None) -> list[float]:
        bench = SimBench(SimSpec(seed=3))
        if rate_hz is not None:
            bench.recorder.start(rate_hz)
        bench.clock.wait(0.5013)  # between two samples, ticks and steps of the devices
        bench.unit.ask(0.0)
        bench.clock.wait(6.0)
        return list(bench.sim.link.values)

    silent = story(None)
    assert story(333.0) == silent
    assert story(1000.0) == silent


def test_the_recorder_takes_a_sample_every_period_and_where_somebody_acts() -> None:
    bench = SimBench(SimSpec())
    bench.recorder.start(100.0)
    bench.clock.wait(0.0234)
    bench.clock.wait(0.02)
    assert [round(t, 4) for t in bench.recorder.stop().t] == [0.0, 0.01, 0.02, 0.0234, 0.0334, 0.0434]
    with pytest.raises(BenchError):
        bench.recorder.stop()
    bench.clock.wait(0.02)  # it costs and says nothing any more
    bench.recorder.start(100.0)
    assert bench.recorder.stop().t == [bench.clock.now()]
