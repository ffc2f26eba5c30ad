"""The vehicle seam by the process secc: what the car's messages permit, and what the car is told."""

import asyncio
import json
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boards
from firmware.bridges.secc.messages import CarState, ChargerState, Lines, Part, SessionEnded, ToSecc, encode
from firmware.guard.messages import CarReport, LimitInfo
from firmware.services.negotiation import CarOrders
from firmware.services.secc import (
    QUIET_S,
    Rated,
    SeccSide,
    car_status,
    charger_state,
    command,
    interface_of,
    missing,
    report_t,
)
from hal.ports import CarPhase
from tests import simulated_loop
from tests.view_snapshot import BASE
from tests.waiting import until

RATED = Rated(22_000.0, 22_000.0, 73.3)
CAR = CarState(
    t=10.0,
    sent_t=10.0,
    phase="transfer",
    protocol="iso20",
    bidirectional=True,
    control="dynamic",
    present_v=400.0,
    max_v=450.0,
    min_v=300.0,
    charge_max_a=125.0,
    charge_max_w=20_000.0,
    discharge_max_a=60.0,
    discharge_max_w=8_000.0,
)


def but(**values: Any) -> CarState:
    return msgspec.structs.replace(CAR, **values)


def test_in_dynamic_mode_the_whole_range_of_the_car_is_the_chargers() -> None:
    status = car_status(CAR)
    assert (status.i_max_a, status.i_min_a) == (50.0, -20.0)
    assert (status.target_v, status.v_max_v, status.v_min_v) == (0.0, 450.0, 300.0)


@pytest.mark.parametrize(("target_a", "high", "low"), [(20.0, 20.0, 0.0), (-15.0, 0.0, -15.0), (0.0, 0.0, 0.0)])
def test_in_scheduled_mode_the_cars_target_is_one_end_of_the_range(target_a: float, high: float, low: float) -> None:
    status = car_status(but(control="scheduled", target_a=target_a, target_v=430.0))
    assert (status.i_max_a, status.i_min_a, status.target_v) == (high, low, 430.0)


def test_a_target_beyond_the_cars_own_limits_is_cut() -> None:
    assert car_status(but(control="scheduled", target_a=300.0)).i_max_a == 50.0
    assert car_status(but(control="scheduled", target_a=-300.0)).i_min_a == -20.0


@pytest.mark.parametrize("missing", ["charge_max_a", "charge_max_w", "max_v"])
def test_a_missing_limit_is_no_charge(missing: str) -> None:
    assert car_status(but(**{missing: None})).i_max_a == 0.0


@pytest.mark.parametrize("missing", ["discharge_max_a", "discharge_max_w", "min_v", "max_v"])
def test_a_missing_limit_is_no_discharge(missing: str) -> None:
    assert car_status(but(**{missing: None})).i_min_a == 0.0


def test_without_the_service_there_is_no_discharge_whatever_the_car_says() -> None:
    assert car_status(but(bidirectional=False)).i_min_a == 0.0
    assert car_status(but(bidirectional=False, control="scheduled", target_a=-20.0)).i_min_a == 0.0


def test_cars_of_2_and_din_may_leave_out_their_power_limit() -> None:
    for protocol in ("iso2", "din"):
        car = but(protocol=protocol, bidirectional=False, control="", charge_max_w=None, present_v=None, target_a=40.0)
        assert (car_status(car).i_max_a, car_status(car).i_min_a) == (40.0, 0.0)


PHASES = [phase.value for phase in CarPhase]


@given(
    st.builds(
        but,
        phase=st.sampled_from(PHASES),
        control=st.sampled_from(["", "scheduled", "dynamic"]),
        protocol=st.sampled_from(["", "din", "iso2", "iso20"]),
        bidirectional=st.booleans(),
        target_a=st.none() | st.floats(-500.0, 500.0),
        target_v=st.none() | st.floats(0.0, 1000.0),
        present_v=st.none() | st.floats(0.0, 1000.0),
        charge_max_a=st.none() | st.floats(0.0, 500.0),
        discharge_max_a=st.none() | st.floats(0.0, 500.0),
        discharge_max_w=st.none() | st.floats(0.0, 1e6),
        min_v=st.none() | st.floats(0.0, 1000.0),
        max_v=st.none() | st.floats(0.0, 1000.0),
    )
)
def test_zero_is_always_inside_and_the_range_never_beyond_the_cars_limits(car: CarState) -> None:
    status = car_status(car)
    assert -(car.discharge_max_a or 0.0) <= status.i_min_a <= 0.0 <= status.i_max_a <= (car.charge_max_a or 0.0)
    if car.phase != "transfer":
        assert status.i_min_a == status.i_max_a == 0.0
    if car.phase not in ("precharge", "transfer"):
        assert status.target_v == 0.0


# ------------------------------------------------------------------------------------------------------- watchdog
def test_a_car_of_20_has_nothing_but_guards_own_half_second() -> None:
    assert report_t(but(t=10.0, sent_t=12.0)) == 10.0


@pytest.mark.parametrize("protocol", ["iso2", "din"])
def test_cars_of_2_and_din_have_a_second_more(protocol: str) -> None:
    assert report_t(but(protocol=protocol, t=10.0, sent_t=10.8)) == 10.8
    assert report_t(but(protocol=protocol, t=10.0, sent_t=12.0)) == 11.0


@pytest.mark.parametrize("phase", ["insulation", "precharge"])
def test_a_silent_car_does_not_hold_voltage_on_the_cable_for_ever(phase: str) -> None:
    assert report_t(but(phase=phase, t=10.0, sent_t=13.0)) == 13.0
    assert report_t(but(phase=phase, t=10.0, sent_t=60.0)) == 14.5


@given(st.sampled_from(PHASES), st.sampled_from(["", "din", "iso2", "iso20"]), st.floats(0.0, 100.0))
def test_the_reported_time_is_never_later_than_the_seccs_own_sign_of_life(
    phase: str, protocol: str, silence_s: float
) -> None:
    assert report_t(but(phase=phase, protocol=protocol, t=10.0, sent_t=10.0 + silence_s)) <= 10.0 + silence_s


# ----------------------------------------------------------------------------------------------------- to the car
def told(*, asks: bool = False, **values: Any) -> ChargerState:
    return charger_state(msgspec.structs.replace(BASE, **values), RATED, plugged=False, asks_cable_check=asks)


def test_without_a_fresh_snapshot_the_car_is_told_that_nothing_is_available() -> None:
    assert charger_state(None, RATED, plugged=True, asks_cable_check=False) == ChargerState(plugged=True)


@pytest.mark.parametrize(
    ("state", "check"),
    [
        ("idle", "idle"),
        ("connected", "idle"),
        ("cable check: discharge", "running"),
        ("cable check: insulation", "running"),
        ("precharge", "passed"),
        ("transfer: charging", "passed"),
        ("ramp down", "idle"),
        ("finished", "idle"),
        ("fault", "failed"),
    ],
)
def test_what_the_cable_check_is_told_to_be(state: str, check: str) -> None:
    assert told(state=state, v_dc_v=5.0).cable_check == check


def test_the_cable_check_has_not_passed_while_the_test_voltage_is_on_the_cable() -> None:
    """On its way down it passes the battery's voltage, and a car would close its contactors on it."""
    assert told(asks=True, state="precharge", v_dc_v=450.0).cable_check == "running"
    assert told(asks=True, state="precharge", v_dc_v=None).cable_check == "running"
    assert told(asks=True, state="precharge", v_dc_v=59.9).cable_check == "passed"
    assert told(asks=False, state="precharge", v_dc_v=400.0).cable_check == "passed"


def test_the_lowest_limit_that_is_not_the_cars_own_is_told() -> None:
    limits = [
        LimitInfo("rating", "", 22_000.0, 22_000.0, None),
        LimitInfo("grid", "", 11_000.0, 5_000.0, None),
        LimitInfo("car", "", 1_000.0, 0.0, None),
    ]
    state = told(limits=limits, i_charge_max_a=27.5, i_discharge_max_a=12.5)
    assert (state.charge_max_w, state.discharge_max_w) == (11_000.0, 5_000.0)
    assert (state.charge_max_a, state.discharge_max_a) == (27.5, 12.5)
    assert (state.rated_charge_w, state.rated_discharge_a) == (22_000.0, 73.3)


def test_a_charger_that_may_not_begin_keeps_the_car_waiting_and_does_not_refuse_it() -> None:
    assert told(state="connected", ready=False).authorization == "ongoing"
    assert told(state="connected", ready=True).authorization == "accepted"
    assert told(state="transfer: charging", ready=False).authorization == "accepted"


def test_contactors_are_told_by_their_mirror_contacts_and_are_unknown_without_guard() -> None:
    assert told(contactor_dc=True).contactors == "closed"
    assert told(contactor_dc=False).contactors == "open"
    assert charger_state(None, RATED, plugged=True, asks_cable_check=False).contactors == "unknown"


def test_numbers_that_are_none_do_not_reach_the_car() -> None:
    state = told(v_dc_v=float("nan"), i_dc_a=float("inf"), i_charge_max_a=float("nan"))
    assert (state.present_v, state.present_a, state.charge_max_a) == (0.0, 0.0, 0.0)
    assert Lines(ToSecc).feed(encode(state)) == [state]


# ---------------------------------------------------------------------------------------------------- the process
PEER = textwrap.dedent(
    """
    import json, socket, sys, time
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    car = json.loads(sys.argv[2]); car["type"] = "car"
    s.sendall(json.dumps(car).encode() + b"\\n")
    f = s.makefile()
    for line in f:
        print(line, flush=True)
    """
)


class Wire:
    """The connection to secc; `told`: what went over it."""

    transport = property(lambda self: self)

    def __init__(self) -> None:
        self.lines, self.told = Lines(ToSecc), list[Any]()

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.told += self.lines.feed(data)


def side(argv: list[str], path: Path, sent: list[Any], said: list[str]) -> SeccSide:
    return SeccSide(argv, path, RATED, sent.append, asyncio.get_running_loop().time, said.append)


def test_the_cars_wishes_reach_guard_and_a_secc_that_ends_is_started_again(tmp_path: Path) -> None:
    sent: list[Any] = []
    said: list[str] = []
    path = tmp_path / "secc.sock"
    t = time.monotonic() + 60.0  # not yet quiet, however slowly the interpreter starts
    fields = json.loads(encode(msgspec.structs.replace(CAR, t=t, sent_t=t)))
    short = PEER.replace("for line in f:", "for line in [f.readline()]:")  # ends after the charger's first word

    async def run() -> None:
        secc = side([sys.executable, "-c", short, str(path), json.dumps(fields)], path, sent, said)
        running = asyncio.create_task(secc.run())
        await until(lambda: len(sent) >= 2, "two reports")
        assert path.stat().st_mode & 0o077 == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not path.exists()

    asyncio.run(run())
    assert all(isinstance(report, CarReport) for report in sent)
    assert (sent[0].t, sent[0].phase, sent[0].i_max_a, sent[0].i_min_a) == (t, "transfer", 50.0, -20.0)
    assert any("secc has ended (exit 0)" in sentence for sentence in said)


@pytest.mark.slow
def test_nothing_is_left_of_secc_when_services_end(tmp_path: Path) -> None:
    path = tmp_path / "secc.sock"
    pid_file = tmp_path / "pid"
    stubborn = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); "
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )

    async def run() -> int:
        running = asyncio.create_task(side([sys.executable, "-c", stubborn], path, [], []).run())
        await until(lambda: pid_file.exists() and pid_file.read_text(), "the program")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return int(pid_file.read_text())

    pid = asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_secc_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "secc.sock"
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        secc = SeccSide(hanging, path, RATED, lambda report: None, clock, said.append, hung_s=0.3)
        running = asyncio.create_task(secc.run())
        await until(lambda: said, "the end of the first")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert set(said) == {"The vehicle side (secc): secc has ended (exit -9)."}


def test_a_program_that_is_not_there_is_told_and_services_go_on(tmp_path: Path) -> None:
    said: list[str] = []

    async def run() -> None:
        running = asyncio.create_task(side(["/nonexistent/python"], tmp_path / "s", [], said).run())
        await until(lambda: said, "a sentence")
        await asyncio.sleep(0.05)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert len(said) == 1
    assert "No such file" in said[0]


def test_the_end_of_a_session_is_told_to_people() -> None:
    said: list[str] = []

    async def run() -> None:
        side([], Path("/x"), [], said).take(SessionEnded("DCChargeLoop", "TCP peer closed connection"))

    asyncio.run(run())
    assert said == ["The car's session has ended in DCChargeLoop: TCP peer closed connection"]


def test_a_car_of_20_that_becomes_quiet_gets_no_power_before_the_next_heartbeat_and_keeps_its_session() -> None:
    sent: list[Any] = []

    async def run() -> float:
        secc = side([], Path("/x"), sent, [])
        t = asyncio.get_running_loop().time()
        secc.take(msgspec.structs.replace(CAR, t=t, sent_t=t))
        await asyncio.sleep(QUIET_S - 0.1)
        assert len(sent) == 1
        await asyncio.sleep(0.2)
        assert len(sent) == 2
        return t

    t = simulated_loop.run(simulated_loop.Clock(), run())
    assert (sent[0].i_max_a, sent[0].i_min_a) == (50.0, -20.0)
    assert (sent[1].phase, sent[1].t, sent[1].i_max_a, sent[1].i_min_a) == ("transfer", t, 0.0, 0.0)


@pytest.mark.parametrize(("protocol", "permitted"), [("iso20", 0.0), ("iso2", 50.0), ("din", 50.0)])
def test_only_a_car_of_20_counts_as_quiet(protocol: Any, permitted: float) -> None:
    car = msgspec.structs.replace(CAR, protocol=protocol)
    assert car_status(car, QUIET_S).i_max_a == 50.0
    assert car_status(car, QUIET_S + 0.01).i_max_a == permitted


def test_a_plan_reaches_the_secc_and_a_car_that_has_none_of_it_is_asked() -> None:
    async def run() -> list[ToSecc]:
        secc = side([], Path("/x"), [], [])
        wire = Wire()
        secc._writer = wire  # type: ignore[assignment]
        now = asyncio.get_running_loop().time()
        planner = msgspec.structs.replace(CAR, t=now, sent_t=now, control="scheduled", target_a=10.0, told_plan=0)
        secc.take(planner)
        secc.snapshot(msgspec.structs.replace(BASE, t=now))
        secc.order(CarOrders(((0.0, 6_000.0, 3_000.0),), charge_only=False))
        secc.report()
        assert secc.pause() == ""
        secc.report()
        return wire.told

    *_, asked, pausing = asyncio.run(run())
    assert isinstance(asked, ChargerState)
    assert isinstance(pausing, ChargerState)
    assert (asked.plan, asked.plan_no, asked.ask) == ((Part(0.0, 6_000.0, 3_000.0),), 1, "schedule")
    assert pausing.ask == "pause"


def test_a_car_that_asks_for_a_new_schedule_gets_no_current_meanwhile_and_more_time() -> None:
    car = but(replans=True, t=10.0, sent_t=12.0)
    status = car_status(car)
    assert (status.phase, status.i_max_a, status.i_min_a) == (CarPhase.TRANSFER, 0.0, 0.0)
    assert report_t(car) == 12.0
    assert report_t(but(replans=True, t=10.0, sent_t=30.0)) == 14.5


# ------------------------------------------------------------------------------------------------------ the board
DESK = (Path(boards.__file__).parent / "desk_can.toml").read_text()
ON_CAN = 'driver = "secc_bridge_v3"\nbus = "vehicle"'


def desk(tmp_path: Path, vehicle: str, *, with_bus: bool = False) -> boards.Board:
    assert ON_CAN in DESK
    text = DESK.replace(ON_CAN, vehicle)
    if not with_bus:
        text = text[: text.index("[bus.vehicle]")] + text[text.index("[pilot]") :]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return boards.load(str(path), tmp_path)


def test_a_board_key_puts_the_process_secc_in_the_place_of_the_one_on_can(tmp_path: Path) -> None:
    board = desk(tmp_path, 'driver = "iso15118"\ninterface = "lo"')
    assert board.vehicle.bus is None
    words = command(board, tmp_path)
    assert words[1:3] == ["-P", words[2]]
    assert words[0].endswith(".venv-secc/bin/python")
    assert words[words.index("--interface") + 1] == "lo"
    assert "--pki" not in words


@pytest.mark.parametrize(
    ("vehicle", "sentence"),
    [
        ('driver = "iso15118"', "[vehicle] interface is needed by driver 'iso15118'."),
        ('driver = "secc_bridge_v3"', "[vehicle] bus is needed by driver 'secc_bridge_v3'."),
        ('driver = "iso15118"\ninterface = "eth1"', "[vehicle] interface = 'eth1': allowed on this board is lo or"),
    ],
)
def test_a_board_that_contradicts_itself_is_refused(tmp_path: Path, vehicle: str, sentence: str) -> None:
    with pytest.raises(boards.BoardError) as refused:
        desk(tmp_path, vehicle)
    assert sentence in str(refused.value)


def test_a_bus_that_the_driver_does_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(boards.BoardError, match="bus belongs to driver 'secc_bridge_v3'"):
        desk(tmp_path, 'driver = "iso15118"\ninterface = "lo"\nbus = "vehicle"', with_bus=True)


def test_an_environment_without_the_package_is_told_before_anything_is_started(tmp_path: Path) -> None:
    def board(python: str) -> boards.Board:
        return desk(tmp_path, f'driver = "iso15118"\ninterface = "lo"\npython = "{python}"')

    assert missing(board("/nowhere/python")).startswith("There is no /nowhere/python; `make setup`")
    assert "has no package iso15118" in missing(board(sys.executable))
    assert missing(boards.load("desk_can", tmp_path)) == ""


def test_an_emulated_board_whose_veth_is_not_there_uses_the_loopback(tmp_path: Path) -> None:
    assert interface_of(desk(tmp_path, 'driver = "iso15118"\ninterface = "v2g-nowhere"')) == "lo"
