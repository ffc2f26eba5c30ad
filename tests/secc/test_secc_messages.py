"""Lines between services and secc, numbers as the standards carry them, and the mirror between both."""

import asyncio
import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.secc.decimals import decimal
from firmware.bridges.secc.exi.codec import APP_PROTOCOL, ISO_2, ISO_20_COMMON, ISO_20_DC
from firmware.bridges.secc.messages import (
    MAX_LINE_BYTES,
    CarState,
    ChargerState,
    FromSecc,
    Lines,
    SessionEnded,
    ToSecc,
    encode,
    finite,
)
from firmware.bridges.secc.mirror import CHARGER_MAX_AGE_S, Mirror


def test_what_nobody_said_permits_nothing_and_asks_the_car_to_stop() -> None:
    state = ChargerState()
    assert state.stop
    assert not state.ready
    assert state.charge_max_a == state.discharge_max_a == state.max_v == state.charge_max_w == 0.0
    assert state.authorization == "ongoing"


@given(st.integers(1, 40))
def test_lines_survive_any_cut(size: int) -> None:
    messages = [ChargerState(present_v=400.0, stop=False), ChargerState(present_a=-20.0)]
    stream = b"".join(map(encode, messages))
    lines = Lines(ToSecc)
    found = [m for k in range(0, len(stream), size) for m in lines.feed(stream[k : k + size])]
    assert found == messages
    assert lines.bad == 0


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"[]\n",
        b'{"type":"charger","unknown":1}\n',
        b'{"type":"charger","present_v":"400"}\n',
        b'{"type":"charger","present_v":1e300}\n',
        b'{"type":"charger","charge_max_a":-1}\n',
        b'{"type":"charger","cp":"C"}\n',
        b'{"type":"other"}\n',
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
    ],
)
def test_a_line_that_is_no_message_changes_nothing_and_the_next_one_counts(line: bytes) -> None:
    lines = Lines(ToSecc)
    assert lines.feed(line) == []
    assert lines.bad == 1
    assert lines.feed(encode(ChargerState(present_v=1.0))) == [ChargerState(present_v=1.0)]


def test_a_line_without_an_end_is_dropped_whole_and_once() -> None:
    lines = Lines(FromSecc)
    for _ in range(3):
        assert lines.feed(b"x" * MAX_LINE_BYTES) == []
    assert lines.feed(b"tail\n" + encode(SessionEnded("a", "b"))) == [SessionEnded("a", "b")]
    assert lines.bad == 1


@given(st.floats())
def test_any_number_can_be_told(value: float) -> None:
    encode(ChargerState(present_a=finite(value)))
    assert Lines(ToSecc).feed(encode(ChargerState(present_a=finite(value))))


@given(st.floats(-30_000_000.0, 30_000_000.0))
def test_a_number_is_told_as_exactly_as_its_field_permits(value: float) -> None:
    exponent, mantissa = decimal(value)
    assert -32768 <= mantissa <= 32767
    assert -3 <= exponent <= 3
    step = 0.01 if abs(value) < 327.0 else abs(value) * 3.1e-4
    assert abs(mantissa * 10.0**exponent - value) <= step * 0.5 + 1e-6


@given(st.floats(0.0, 30_000_000.0))
def test_a_limit_is_never_told_higher_than_it_is(value: float) -> None:
    exponent, mantissa = decimal(value, down=True)
    assert Fraction(mantissa) * Fraction(10) ** exponent <= Fraction(value) + Fraction(1, 10**6)


@pytest.mark.parametrize(
    ("value", "told"),
    [(12.3456, (-2, 1235)), (-9999.9, (0, -10000)), (0.0, (0, 0)), (22_000.0, (0, 22_000)), (400.0, (0, 400))],
)
def test_numbers_are_rounded_and_not_cut_off(value: float, told: tuple[int, int]) -> None:
    assert decimal(value) == told


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_told_as_zero(value: float) -> None:
    assert decimal(value) == (0, 0)


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[object] = []
        self.mirror = Mirror(lambda: self.now, self.sent.append)

    def hear(self, name: str, namespace: str = ISO_20_DC, **body: object) -> CarState:
        self.mirror.request(namespace, {name: body})
        return self.mirror.car


def test_a_charger_that_says_nothing_any_more_is_a_charger_that_has_nothing() -> None:
    bench = Bench()
    told = ChargerState(charge_max_a=50.0, stop=False, ready=True, plugged=True, contactors="closed")
    bench.mirror.take(told)
    bench.now += CHARGER_MAX_AGE_S
    assert bench.mirror.charger == told
    bench.now += 0.001
    assert bench.mirror.charger == ChargerState(plugged=True)


def test_the_cars_time_stands_still_while_it_is_silent_and_the_secc_is_alive() -> None:
    bench = Bench()
    bench.hear("DC_ChargeLoopReq")
    for _ in range(5):
        bench.now += 0.1
        bench.mirror.heartbeat()
    car = bench.mirror.car
    assert (car.t, car.sent_t) == (100.0, pytest.approx(100.5))
    assert bench.sent[-1] == car


def test_without_a_car_both_times_go_on() -> None:
    bench = Bench()
    bench.now += 7.0
    bench.mirror.heartbeat()
    assert bench.mirror.car.t == bench.mirror.car.sent_t == 107.0


def test_the_end_of_a_session_takes_power_away_at_once_and_the_car_with_it_later() -> None:
    bench = Bench()
    bench.hear("DC_ChargeLoopReq")
    bench.mirror.stopping()
    assert bench.mirror.car.phase == "ending"
    bench.mirror.ended("DCChargeLoop", "TCP peer closed connection")
    assert bench.mirror.car == CarState(t=bench.now, sent_t=bench.now)
    assert SessionEnded("DCChargeLoop", "TCP peer closed connection") in bench.sent


def test_nothing_of_the_car_before_is_left_when_a_new_one_comes() -> None:
    bench = Bench()
    bench.hear("DC_ChargeLoopReq", DisplayParameters={"PresentSOC": 55})
    bench.hear("ServiceSelectionReq", ISO_20_COMMON, SelectedEnergyTransferService={"ServiceID": 6})
    assert bench.mirror.car.bidirectional
    bench.mirror.request(APP_PROTOCOL, {"supportedAppProtocolReq": {}})
    assert bench.mirror.car == CarState(t=100.0, sent_t=100.0, phase="wait", message="supportedAppProtocolReq")


def test_contactors_that_nobody_reports_are_not_open() -> None:
    async def ask(state: ChargerState | None) -> bool:
        now = 0.0

        def clock() -> float:
            nonlocal now
            now += 0.1
            return now

        mirror = Mirror(clock, lambda message: None)
        if state is not None:
            mirror.take(state)
        return await mirror.opened(1.0)

    assert not asyncio.run(ask(None))
    assert not asyncio.run(ask(ChargerState(contactors="closed")))
    assert not asyncio.run(ask(ChargerState()))
    assert asyncio.run(ask(ChargerState(contactors="open")))


def test_a_session_that_is_ended_while_the_car_plans_anew_is_in_transfer_no_more() -> None:
    bench = Bench()
    bench.hear("DC_ChargeLoopReq")
    car = bench.hear("PowerDeliveryReq", ISO_20_COMMON, ChargeProgress="ScheduleRenegotiation")
    assert (car.phase, car.replans) == ("transfer", True)
    bench.mirror.stopping()
    assert (bench.mirror.car.phase, bench.mirror.car.replans) == ("ending", False)
    car = bench.hear("PowerDeliveryReq", ISO_20_COMMON, EVProcessing="Finished", ChargeProgress="Start")
    assert car.phase == "ending"


def test_messages_have_no_field_that_the_other_side_may_take_for_unlimited() -> None:
    for field in msgspec.structs.fields(ChargerState):
        # Without a plan the ratings hold, which are zero.
        assert field.default in (0.0, False, True, "idle", "ongoing", "unknown", "", ())


def test_a_pause_lasts_until_the_plug_is_pulled() -> None:
    now = 0.0
    sent: list[FromSecc] = []
    mirror = Mirror(lambda: now, sent.append)
    mirror.request(ISO_2, {"V2G_Message": {"Body": {"SessionStopReq": {"ChargingSession": "Pause"}}}})
    mirror.ended("SessionStop", "paused")
    mirror.take(ChargerState(plugged=True))
    assert mirror.car.phase == "pause"
    mirror.take(ChargerState(plugged=False))
    assert mirror.car.phase == "none"
