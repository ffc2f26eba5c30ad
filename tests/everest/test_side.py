"""Services' side of EVerest without a broker: what counts of what was heard, and whom silence tells what."""

from __future__ import annotations

import msgspec

from firmware.bridges.everest.topics import BSP, IMD, PSU
from firmware.guard.messages import CarReport
from firmware.services.everest import MAX_WAITING, EverestSide, charger_of, modules_of
from firmware.services.negotiation import CarOrders
from tests.everest.rig import Wire, board
from tests.view_snapshot import BASE

REST = msgspec.structs.replace(BASE, state="connected", cp="B", contactor_dc=False, stop=False, ready=True, faults=[])


class Bench:
    def __init__(self) -> None:
        made = board()
        self.now, self.wire, self.told, self.said = 100.0, Wire(), list[CarReport](), list[str]()
        self.side = EverestSide(
            made, lambda up, heard: self.wire, lambda: (0.0, 0.0), self.told.append, lambda: self.now, self.said.append
        )
        self.side.connect()
        self.modules = modules_of(made)

    def hear(self, kind: str, name: str, payload: str, *, retained: bool = False) -> None:
        self.side.heard(self.modules.from_everest(kind, name), payload.encode(), retained)

    def beat(self, count: int = 1) -> None:
        for kind in (PSU, BSP, IMD):
            self.hear(kind, "heartbeat", str(count))

    def charge(self) -> None:
        self.beat()
        self.hear(BSP, "allow_power_on", '{"allow_power_on":true,"reason":"FullPowerCharging"}')
        self.hear(PSU, "mode", '{"mode":"Export","charging_phase":"Charging"}')
        self.hear(PSU, "export_voltage_current", '{"voltage_V":400,"current_A":30}')

    def checks(self) -> int:
        return sum(topic.endswith("/communication_check") for _, topic, _ in self.wire.log)


def test_a_message_that_the_broker_kept_is_not_obeyed() -> None:
    bench = Bench()
    bench.charge()
    bench.side.snapshot(REST)
    assert bench.told[-1].i_max_a == 30.0
    bench.hear(PSU, "export_voltage_current", '{"voltage_V":400,"current_A":70}', retained=True)
    bench.side.step()
    assert bench.told[-1].i_max_a == 30.0


def test_when_services_hung_for_so_long_that_messages_are_lost_none_of_them_counts() -> None:
    bench = Bench()
    bench.charge()
    bench.side.step()
    assert bench.told[-1].phase == "transfer"
    bench.hear(BSP, "allow_power_on", '{"allow_power_on":false,"reason":"PowerOff"}')
    for count in range(MAX_WAITING):
        bench.beat(count + 2)
    bench.side.snapshot(msgspec.structs.replace(REST, contactor_dc=True))
    assert (bench.told[-1].phase, bench.told[-1].i_max_a) == ("ending", 0.0)


def test_without_a_fresh_snapshot_everest_hears_nothing_of_us_and_raises_its_own_fault() -> None:
    bench = Bench()
    bench.beat()
    bench.side.snapshot(REST)
    before = bench.checks()
    assert before > 0
    for _ in range(30):
        bench.now += 0.1
        bench.side.step()
    assert bench.checks() - before <= 8  # those of the first half second, at four devices


def test_an_everest_that_never_speaks_is_told_once_with_what_to_look_at() -> None:
    bench = Bench()
    for _ in range(20):
        bench.now += 0.1
        bench.side.step()
    assert bench.told == []
    assert len(bench.said) == 1
    assert "[everest]" in bench.said[0]


def test_what_keeps_a_session_from_beginning_is_an_error_and_a_polite_stop_is_none() -> None:
    waiting = msgspec.structs.replace(REST, ready=False, why="Waiting to enter service.")
    assert charger_of(waiting, (0.0, 0.0)).broken == "Waiting to enter service."
    assert charger_of(REST, (0.0, 0.0)).broken == ""
    ending = msgspec.structs.replace(REST, state="ramp down", stop=True, contactor_dc=True, ready=False)
    assert charger_of(ending, (0.0, 0.0)).broken == ""
    tripped = msgspec.structs.replace(ending, grid_state="tripped", why="The grid.")
    assert charger_of(tripped, (0.0, 0.0)).broken == "The grid."
    flowing = msgspec.structs.replace(BASE, stop=False, ready=False)
    assert charger_of(flowing, (0.0, 0.0)).broken == ""


def test_a_pause_is_everests_business_and_plans_are_ignored() -> None:
    bench = Bench()
    assert bench.side.pause().startswith("EVerest decides about pauses")
    before = len(bench.wire.log)
    bench.side.order(CarOrders(((0.0, 6_000.0, 0.0),), charge_only=True))
    assert len(bench.wire.log) == before
