"""An emulated EVerest with a car behind it: what its EvseManager says on the MQTT API, and in which order.

The sequence is EvseManager's as read in its source (tree of 2026-08-21): cable check in eight steps, set-points only
when they change, the supply's mode after its first set-point, an error ends the session. Car and protocol are those of
the emulated SECC (hil/devices/car.py); only its cable check waits for EvseManager's word. `EmulatedEverest` is sans
I/O; as a process it speaks to a real broker.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from firmware.bridges.everest.topics import BSP, IMD, MANAGER, METER, PSU, Modules
from firmware.bridges.mqtt.client import Address, Broker
from firmware.guard.numbers import test_voltage
from hal.can.secc_bridge import SeccBridge
from hal.ports import CarPhase, CarStatus, ChargerReport
from hil.devices.car import EmulatedCar
from hil.devices.car_frames import Secc
from hil.devices.commands import FLAG, Rule, checked, is_number
from hil.devices.process import SharedLink, arguments, run
from hil.plant.link import PlantLink

CHECK_TIMEOUT_S = 5.0  # cfg_communication_check_to_s
SAFE_V, REACHED_V = 60.0, 10.0
DEAD_TIMEOUT_S, CLOSED_TIMEOUT_S, RAMP_TIMEOUT_S, SELF_TEST_TIMEOUT_S, SAMPLE_TIMEOUT_S = 10.0, 5.0, 10.0, 30.0, 5.0
SAMPLE_GAP_S = 2.0  # between two voltages of the supply
INSULATION_MIN_OHM = 100_000.0
TEST_A = 2.0
LOOP_S = 0.25  # between two set-points in the charge loop
EV_INFO_S = 1.0

Said = tuple[str, str]  # topic, payload


class CarBehindEverest(EmulatedCar):
    """The car, which takes EvseManager's word for the cable check. None: it still runs."""

    check_passed: bool | None = None

    def _cable_check(self) -> None:
        if self._stop_asked() or self.check_passed is False:
            self._end("the cable check failed" if self.check_passed is False else "the charger ended it")
        elif self.check_passed:
            self._go(Secc.PRECHARGE)

    _STATES: ClassVar[Mapping[Secc, Callable[..., None]]] = {**EmulatedCar._STATES, Secc.INSULATION: _cable_check}


class EmulatedEverest:
    """Call `receive` with what is published and `step` every 10 ms or so; it returns what is to be published.

    `power_w`: what its energy management wants (W, + charges); None: charge with all that is permitted. `mute`: all of
    its modules hang. `failed`: why the last cable check or session failed.
    """

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        modules: Modules,
        heartbeat_s: float = 1.0,
        negotiation_s: float = 2.0,
    ) -> None:
        self.car = CarBehindEverest(link, rng, negotiation_s)
        self.power_w: float | None = None
        self.mute = False
        self.failed = ""
        self.meter: dict[str, Any] = {}  # the last values of the power meter
        self.replies: list[Any] = []  # answers to calls
        self.errors: set[tuple[str, str]] = set()
        self.modes: list[str] = []  # that the supply reported, one after the other
        self._modules, self._heartbeat_s = modules, heartbeat_s
        self._hlc = SeccBridge()  # what the car's protocol stack tells EvseManager, and the other way
        self._out: list[Said] = []
        self._beat = 0
        self._due: dict[str, float] = {}
        self._checks: dict[str, float] = {}
        self._values: tuple[float, float, float] | None = None  # t, V, A
        self._caps: dict[str, Any] | None = None
        self._ohms: list[float] = []
        self._test: bool | None = None
        self._pilot = ""
        self._closed = self._stop_asked = False
        self._on = self._allowed = False
        self._way = "Export"
        self._phase = "Other"
        self._last: tuple[float, float] | None = None
        self._step: str | None = None  # of the cable check
        self._since = 0.0
        self._now = 0.0

    # --------------------------------------------------------------------------------------------- from the charger
    def receive(self, now: float, topic: str, payload: bytes) -> None:
        for kind in self._modules.names:
            start = self._modules.to_everest(kind, "")
            if topic.startswith(start):
                self._take(now, kind, topic[len(start) :], json.loads(payload))
            elif topic.startswith(self._modules.from_everest(kind, "")) and "/reply" in topic:
                self.replies.append(json.loads(payload))

    def _take(self, now: float, kind: str, name: str, value: Any) -> None:
        match kind, name:
            case _, "communication_check":
                self._checks[kind] = now
            case _, "raise_error":
                self.errors.add((kind, value["type"]))
            case _, "clear_error":
                self.errors.discard((kind, value["type"]))
            case "power_supply_DC", "voltage_current":
                self._values = (now, value["voltage_V"], value["current_A"])
            case "power_supply_DC", "capabilities":
                self._caps = value
            case "power_supply_DC", "mode":
                if not self.modes or self.modes[-1] != value:
                    self.modes.append(value)
            case "evse_board_support", "event":
                self._event(value["event"])
            case "evse_board_support", "request_stop_transaction":
                self._stop_asked = True
            case "isolation_monitor", "isolation_measurement":
                self._ohms.append(value["resistance_F_Ohm"])
            case "isolation_monitor", "self_test_result":
                self._test = value
            case "powermeter", "powermeter_values":
                self.meter = value

    def _event(self, event: str) -> None:
        if event in ("PowerOn", "PowerOff"):
            self._closed = event == "PowerOn"
            return
        if event == "B" and self._pilot in ("", "A"):
            self._say(BSP, "pwm_on", 5.0)
        elif event == "A":
            self._stop_asked = False
            self._say(BSP, "cp_state_X1", None)
        self._pilot = event

    # ----------------------------------------------------------------------------------------------- to the charger
    def _say(self, kind: str, name: str, payload: Any) -> None:
        self._out.append((self._modules.from_everest(kind, name), "" if payload is None else json.dumps(payload)))

    def _every(self, what: str, period_s: float) -> bool:
        if self._now < self._due.get(what, -math.inf) - 1e-9:
            return False
        self._due[what] = self._now + period_s
        return True

    @property
    def operative(self) -> bool:
        """Every device speaks, says what it can, and reports no error."""
        alive = all(self._now - self._checks.get(kind, -math.inf) <= CHECK_TIMEOUT_S for kind in (PSU, BSP, IMD, METER))
        return alive and not self.errors and self._caps is not None

    def step(self, now: float) -> list[Said]:
        """What EVerest publishes now."""
        self._now = now
        if self.mute:
            for frame in self.car.step(now):
                self._hlc.receive(now, frame)
            return []
        if self._every("heartbeat", self._heartbeat_s):
            self._beat += 1
            for kind in self._modules.names:
                self._say(kind, "heartbeat", self._beat)
        self._tell_car()
        for frame in self.car.step(now):
            self._hlc.receive(now, frame)
        reading = self._hlc.poll(now)
        if reading is not None:
            self._session(reading.value)
        said, self._out = self._out, []
        return said

    def _tell_car(self) -> None:
        _, volts, amps = self._values or (0.0, 0.0, 0.0)
        caps = self._caps or {}
        report = ChargerReport(
            v_v=volts,
            i_a=amps,
            i_charge_max_a=caps.get("max_export_current_A", 0.0),
            i_discharge_max_a=caps.get("max_import_current_A", 0.0),
            v_max_v=caps.get("max_export_voltage_V", 0.0),
            insulation_ohm=self._ohms[-1] if self._ohms else None,
            ready=self.operative,
            stop=self._stop_asked or (self._allowed and not self.operative),
        )
        for frame in self._hlc.report(self._now, report):
            self.car.receive(self._now, frame)

    # -------------------------------------------------------------------------------------------------- the session
    def _session(self, car: CarStatus) -> None:
        phase = car.phase
        if phase in (CarPhase.WAIT, CarPhase.INSULATION, CarPhase.PRECHARGE, CarPhase.TRANSFER):
            self._tell_ev_info(car)
        if self._allowed and not self.operative:
            self.failed = self.failed or "an error ended the session"
            self._end()
        elif phase is CarPhase.INSULATION:
            self._check(car)
        elif phase is CarPhase.PRECHARGE:
            self._set("PreCharge", "Export", car.target_v, TEST_A)
        elif phase is CarPhase.TRANSFER:
            self._charge(car)
        else:
            self._end()
        if phase is CarPhase.NONE:
            self.car.check_passed, self._step = None, None
            self._stop_asked = self._stop_asked and self._pilot in ("B", "C")

    def _tell_ev_info(self, car: CarStatus) -> None:
        if MANAGER in self._modules.names and self._every("ev_info", EV_INFO_S):
            info = {"maximum_voltage_limit": self.car.v_max_v, "soc": car.soc_pct, "battery_capacity": car.capacity_wh}
            self._say(MANAGER, "ev_info", {name: value for name, value in info.items() if value is not None})

    def _end(self) -> None:
        self._off()
        if self._allowed:
            self._allowed = False
            self._say(BSP, "allow_power_on", {"allow_power_on": False, "reason": "PowerOff"})
            self._say(IMD, "stop", {})

    def _allow(self, reason: str) -> None:
        if not self._allowed:
            self._allowed, self.failed = True, ""
            answer_to = self._modules.from_everest(METER, "reply/1")
            call = {"headers": {"replyTo": answer_to}, "payload": {"evse_id": "DE*QUA*E1", "transaction_id": "1"}}
            self._say(METER, "start_transaction", call)
            self._say(BSP, "allow_power_on", {"allow_power_on": True, "reason": reason})

    def _off(self) -> None:
        if self._on:
            self._say(PSU, "mode", {"mode": "Off", "charging_phase": self._phase})
        self._on, self._last, self._phase = False, None, "Other"

    def _set(self, phase: str, way: str, volts: float, amps: float) -> None:
        """Mode and set-point as `powersupply_DC_set` and `powersupply_DC_on` send them: nothing twice, the very first
        set-point before the mode, later ones after it."""
        wanted = (round(volts, 1), round(amps, 1))
        if self._on and wanted == self._last and (phase, way) == (self._phase, self._way):
            return
        mode = {"mode": way, "charging_phase": phase}
        if self._on and (phase, way) != (self._phase, self._way):
            self._say(PSU, "mode", mode)
        self._say(PSU, f"{way.lower()}_voltage_current", {"voltage_V": wanted[0], "current_A": wanted[1]})
        if not self._on:
            self._say(PSU, "mode", mode)
        self._on, self._phase, self._way, self._last = True, phase, way, wanted

    def _charge(self, car: CarStatus) -> None:
        if not self._every("loop", LOOP_S):
            return
        caps, (_, volts, _) = self._caps or {}, self._values or (0.0, 0.0, 0.0)
        v = max(volts, 1.0)
        asked_w = self.power_w
        if asked_w is not None and asked_w < 0.0:
            floor_v = max(car.v_min_v, caps["min_import_voltage_V"])
            most_w = min(-asked_w, caps["max_import_power_W"])
            self._set("Charging", "Import", floor_v, min(-car.i_min_a, most_w / v, caps["max_import_current_A"]))
        else:
            most_w = min(math.inf if asked_w is None else asked_w, caps["max_export_power_W"])
            self._set("Charging", "Export", car.v_max_v, min(car.i_max_a, most_w / v, caps["max_export_current_A"]))

    # --------------------------------------------------------------------------------------------- the cable check
    def _check(self, car: CarStatus) -> None:
        """`cable_check()`: below 60 V, closed, at test voltage, self-test, one sample, below 60 V again."""
        if self._step is None:
            self._go("below")
            self._ohms.clear()
            self._test = None
        t, volts, _ = self._values or (-math.inf, math.inf, 0.0)
        elapsed, fresh = self._now - self._since, self._now - t <= SAMPLE_GAP_S
        top_v = test_voltage(self.car.v_max_v, (self._caps or {})["max_export_voltage_V"])
        match self._step:
            case "below" if fresh and volts < SAFE_V:
                self._allow("DCCableCheck")
                self._go("closing")
            case "closing" if self._closed:
                self._set("CableCheck", "Export", top_v, TEST_A)
                self._go("ramp")
            case "ramp" if fresh and abs(volts - top_v) <= REACHED_V:
                self._say(IMD, "start_self_test", top_v)
                self._go("self-test")
            case "self-test" if self._test is not None:
                self._say(IMD, "start", {})
                self._ohms.clear()
                self._go("sample" if self._test else "failed")
            case "sample" if self._ohms:
                self._off()
                self._go("dead" if self._ohms[-1] >= INSULATION_MIN_OHM else "failed")
            case "dead" if fresh and volts < SAFE_V:
                self.car.check_passed = True
                self._go("passed")
            case "passed":
                pass
            case step if step == "failed" or elapsed > self._TIMEOUTS_S[str(step)]:
                self.failed = self.failed or f"cable check, step {step}"
                self.car.check_passed = False
                self._end()

    _TIMEOUTS_S: ClassVar[dict[str, float]] = {
        "below": DEAD_TIMEOUT_S,
        "closing": CLOSED_TIMEOUT_S,
        "ramp": RAMP_TIMEOUT_S,
        "self-test": SELF_TEST_TIMEOUT_S,
        "sample": SAMPLE_TIMEOUT_S,
        "dead": DEAD_TIMEOUT_S,
    }

    def _go(self, step: str) -> None:
        self._step, self._since = step, self._now

    # ---------------------------------------------------------------------------------------------- rig's commands
    def handle(self, command: dict[str, Any]) -> None:
        """{"power_w": W or null}, {"mute": bool}; everything else is the car's. Raises ValueError."""
        own = checked("car", _COMMANDS, {name: value for name, value in command.items() if name in _COMMANDS})
        others = {name: value for name, value in command.items() if name not in _COMMANDS}
        if others or not command:
            self.car.handle(others)
        for name, value in own.items():
            setattr(self, name, value)


_COMMANDS = {
    "power_w": Rule(
        lambda v: v is None or is_number(v, -400_000.0, 400_000.0),
        "null, or -400000 to 400000 W",
        lambda v: None if v is None else float(v),
    ),
    "mute": FLAG,
}


class _Process:
    """The emulated EVerest at a real broker."""

    def __init__(self, shm: str, address: Address, modules: Modules, heartbeat_s: float, seed: int) -> None:
        self._shared = SharedLink(shm)
        self._everest = EmulatedEverest(self._shared.link, random.Random(seed), modules, heartbeat_s)
        self._inbox: deque[tuple[str, bytes]] = deque()
        topics = [modules.to_everest(kind, "+") for kind in modules.names]
        topics += [modules.from_everest(METER, "reply/+")]
        self._broker = Broker(
            address, topics, None, lambda: None, lambda topic, payload, _: self._inbox.append((topic, payload))
        )
        self._broker.start()
        self.handle = self._everest.handle

    def step(self, now: float) -> None:
        while self._inbox:
            self._everest.receive(now, *self._inbox.popleft())
        for topic, text in self._everest.step(now):
            self._broker.publish(topic, text)

    def close(self) -> None:
        self._broker.close()
        self._shared.close()


def main() -> int:
    parser = arguments("emulated EVerest on MQTT and the car behind it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--modules", required=True, help="JSON: the fields of Modules")
    parser.add_argument("--heartbeat", type=float, default=1.0)
    options = parser.parse_args()
    try:
        modules = Modules(**json.loads(options.modules))
        address = Address(options.host, options.port, f"everest-{options.shm}")
        process = _Process(options.shm, address, modules, options.heartbeat, options.seed)
    except (OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return run(process, 0.010)


if __name__ == "__main__":
    raise SystemExit(main())
