"""The car by EVerest: the third user of the vehicle seam. Its wishes to guard, guard's state to EVerest, over MQTT.

The translation is in firmware/bridges/everest; here are the connection, the clock and guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import math
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

from boards import Board
from firmware.bridges.everest.peer import Peer
from firmware.bridges.everest.teller import Charger, Ratings, Teller
from firmware.bridges.everest.topics import Modules
from firmware.guard.machine import CABLE_CHECK, ENERGIZED, TRANSFER, ChargerState
from firmware.guard.messages import Snapshot
from firmware.services.devices import GUARD_SILENT_S, Clock, Health, Say, Send, car_report
from firmware.services.negotiation import CarOrders
from hal.ports import CanFrame, CarStatus, HalError, Reading

PERIOD_S = 0.1
MAX_WAITING = 256  # messages that wait for services' loop; EVerest says a dozen a second
Energy = Callable[[], tuple[float, float]]  # registers: charged, discharged (Wh)
Heard = Callable[[str, bytes, bool], None]

_ENERGIZED = frozenset(state.value for state in ENERGIZED)
_TRANSFER = frozenset(state.value for state in TRANSFER)
_TEST_PASSED = frozenset((ChargerState.CABLE_INSULATION.value, ChargerState.PRECHARGE.value, *_TRANSFER))
_TEST_AHEAD = frozenset(state.value for state in CABLE_CHECK) - _TEST_PASSED
_CONTACTOR_FAULTS = frozenset(
    ("contactor_timeout", "contactor_dc_fault", "contactor_precharge_fault", "contactor_welded")
)


class BrokerLike(Protocol):
    """What is used of firmware.bridges.mqtt.client.Broker."""

    problem: str

    def start(self) -> None: ...
    def publish(self, topic: str, text: str, *, retain: bool = False) -> bool: ...
    def close(self, timeout_s: float = 2.0) -> None: ...


Connect = Callable[[Callable[[], None], Heard], BrokerLike]  # (what to call when it is up, what to call with a message)


def charger_of(snapshot: Snapshot, energy_wh: tuple[float, float]) -> Charger:
    """The charger as EVerest may know it."""
    in_session = snapshot.state in _ENERGIZED
    told = [limit for limit in snapshot.limits if limit.source not in ("car", "fault")]
    grid_off = snapshot.grid_state in ("ceased", "tripped")
    broken = ""
    if (snapshot.stop and (snapshot.faults or grid_off)) or not (in_session or snapshot.ready or snapshot.contactor_dc):
        broken = snapshot.why
    test = "passed" if snapshot.state in _TEST_PASSED else "running" if snapshot.state in _TEST_AHEAD else "failed"
    return Charger(
        v_v=_finite(snapshot.v_dc_v),
        i_a=_finite(snapshot.i_dc_a),
        pilot=snapshot.cp,
        closed=snapshot.contactor_dc,
        on=snapshot.converter_on,
        charging=snapshot.converter_direction != "discharge",
        in_session=in_session,
        in_transfer=snapshot.state in _TRANSFER,
        stop=snapshot.stop,
        broken=broken,
        estop=snapshot.estop,
        contactor_fault=bool(_CONTACTOR_FAULTS.intersection(snapshot.faults)),
        charge_max_a=_finite(snapshot.i_charge_max_a),
        charge_max_w=min((_finite(limit.charge_w) for limit in told), default=0.0),
        discharge_max_a=_finite(snapshot.i_discharge_max_a),
        discharge_max_w=min((_finite(limit.discharge_w) for limit in told), default=0.0),
        v_max_v=_finite(snapshot.v_max_v),
        insulation_ohm=snapshot.insulation_ohm,
        self_test=test,  # type: ignore[arg-type]  # one of the Literal's words, by the line above
        charged_wh=energy_wh[0],
        discharged_wh=energy_wh[1],
    )


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def modules_of(board: Board) -> Modules:
    settings = board.everest
    assert settings is not None
    return Modules(
        settings.power_supply, settings.board_support, settings.insulation, settings.power_meter, settings.manager or ""
    )


class EverestSide:
    """Nothing of it waits or raises into services but `run`, which ends when it is cancelled."""

    def __init__(self, board: Board, connect: Connect, energy: Energy, send: Send, clock: Clock, say: Say) -> None:
        settings = board.everest
        assert settings is not None
        self._open, self._energy, self._send, self._clock = connect, energy, send, clock
        self._health = Health("The vehicle side (EVerest)", say)
        modules, r = modules_of(board), board.ratings
        ratings = Ratings(r.charge_w, r.discharge_w, r.current_a, r.voltage_v, board.grid.nominal_v)
        self.peer = Peer(modules, settings.heartbeat_s, say)
        self._teller = Teller(modules, ratings, board.name, _wall_text)
        self._snapshot: Snapshot | None = None
        self._snapshot_t = -math.inf
        self._reported: Reading[CarStatus] | None = None
        self._broker: BrokerLike | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[tuple[float, str, bytes]] = deque()
        self._renewed = False  # the connection is new: what was heard before it holds no more
        self._silent_s = 2.5 * settings.heartbeat_s
        self.on_frames: Callable[[Sequence[CanFrame], bool], None] = lambda frames, sent: None  # it has no bus

    # -------------------------------------------------------------------------------- from the connection's thread
    def _up(self) -> None:
        self._inbox.clear()
        self._renewed = True
        self._wake()

    def heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:
            return  # EVerest retains nothing: that is somebody's leftover
        if len(self._inbox) >= MAX_WAITING:
            self._up()  # services hung: an `off` may be among what is lost, so nothing of it counts
        else:
            self._inbox.append((self._clock(), topic, payload))
            self._wake()

    def _wake(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # services have just ended
                self._loop.call_soon_threadsafe(self.step)

    # ------------------------------------------------------------------------------------------ in services' loop
    def snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot, self._snapshot_t = snapshot, self._clock()
        self.step()

    def order(self, orders: CarOrders) -> None:
        """A power supply tells EVerest what it can give; schedules and services are its energy manager's."""

    def pause(self) -> str:
        return "EVerest decides about pauses, and a power supply cannot ask it for one; ask its charging manager."

    def step(self) -> None:
        """Take what was heard, tell guard and EVerest what is new."""
        if self._broker is None:
            return
        if self._renewed:
            self._renewed = False
            self.peer.forget()
        while self._inbox:
            self.peer.take(*self._inbox.popleft())
        if self._broker.problem:
            self._health.bad(self._broker.problem)
            self.peer.forget()  # what it commands meanwhile is not heard
            return
        self._tell_guard()
        self._tell_everest(self._broker)

    def _tell_guard(self) -> None:
        now, snapshot = self._clock(), self._snapshot
        heard = self.peer.heard_t
        if heard is None or now - heard > self._silent_s:
            self._health.bad(
                "it is silent. Check that it runs, and the names of its modules in [everest]."
                if heard is None
                else f"a module of it has been silent for {now - heard:.1f} s."
            )
        else:
            self._health.good()
        plugged = snapshot is not None and snapshot.cp in ("B", "C", "D")
        status = self.peer.status(now, plugged=plugged, closed=snapshot is not None and snapshot.contactor_dc)
        if status is not None and status != self._reported:
            self._reported = status
            self._send(car_report(status))

    def _tell_everest(self, broker: BrokerLike) -> None:
        now, snapshot = self._clock(), self._snapshot
        if self.peer.restarted:
            self.peer.restarted = False
            self._teller.again()
        said = list(self.peer.replies)
        self.peer.replies.clear()
        if snapshot is not None and now - self._snapshot_t <= GUARD_SILENT_S:
            said += self._teller.messages(now, charger_of(snapshot, self._energy()), self.peer)
        for topic, text in said:
            broker.publish(topic, text)

    def connect(self) -> BrokerLike:
        self._broker = self._open(self._up, self.heard)
        self._broker.start()
        return self._broker

    async def run(self) -> None:
        """Serve until cancelled."""
        self._loop = asyncio.get_running_loop()
        broker = self.connect()
        try:
            due = self._clock()
            while True:
                self.step()
                due = max(due + PERIOD_S, self._clock())
                await asyncio.sleep(due - self._clock())
        finally:
            await asyncio.to_thread(broker.close)


def _wall_text() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def broker_of(board: Board) -> Connect:
    """How this board reaches EVerest's broker. Raises HalError where that cannot be."""
    settings = board.everest
    assert settings is not None
    if find_spec("paho") is None:
        raise HalError("EVerest cannot be reached: paho-mqtt is not installed; pip install 'quadrant[mqtt]'.")
    from firmware.bridges.mqtt.client import Address, Broker  # only where it is configured

    address = Address(settings.host, settings.port, f"quadrant-{board.name}-secc")
    topics = modules_of(board).subscriptions()
    return lambda up, heard: Broker(address, topics, None, up, heard)
