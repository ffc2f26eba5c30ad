"""The emulated external SECC and the car behind it: frames of the SECC bridge on CAN, contactor and battery limits.

The car protects itself as real ones do: it closes its contactor only when the cable's voltage is near its own, gives
up in time, and opens under load when the charger does what the car has not permitted. The SECC judges the insulation
from what the charger reports. It needs the control pilot's 5 % duty, and takes its loss for an emergency.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.can.bus import BusSpec, open_bus
from hal.can.secc_bridge import (
    INSULATION_TEST,
    OFF,
    POWER_PARAMETERS,
    POWER_SEQUENCE,
    POWER_STATUS,
    POWER_TRANSFER,
    PRECHARGE,
    STANDBY,
    decode,
)
from hal.ports import CanFrame, HalError
from hil.devices.car_frames import Battery, Secc, battery_frames, emergency_frame, request_frames
from hil.devices.commands import ACTION, FLAG, Rule, checked, is_number, number
from hil.devices.process import SharedLink, arguments, run
from hil.plant.link import INDEX, PlantLink

PERIOD_S = 0.1
CHARGER_SILENT_S = 1.0  # a car gives up after 1 s without the charger's frames (CHAdeMO practice)
PILOT_LOST_S = 0.1  # the pilot's duty left 5 % for so long: it is lost
DUTY_PCT = (3.0, 7.0)  # IEC 61851-1: what counts as 5 %
CABLE_CHECK_TIMEOUT_S = 40.0  # ISO 15118-2, V2G_EVCC_CableCheck_Timeout
PRECHARGE_TIMEOUT_S = 7.0  # ISO 15118-2, V2G_EVCC_PreCharge_Timeout
PRECHARGE_WINDOW_V = 20.0  # a car closes its contactors only nearer than this
PRECHARGE_HOLD_S = 0.1
CONTACTOR_TIMEOUT_S = 1.0
INSULATION_MIN_OHM = 100e3  # CCS; the charger must have reached 90 % of the test voltage
INSULATION_REACHED = 0.9
DISCHARGED_V = 20.0  # before precharge; the charger's own reading
WELDING_V = 60.0
WELDING_TIMEOUT_S = 10.0
OPEN_CURRENT_A = 1.0
OPEN_WAIT_S = 5.0  # at a normal end
ENDING_MIN_S = 0.3  # a car says that it ends before it opens (recorded ones took 3 s)
EMERGENCY_WAIT_S = 0.5
CLOSING_S = 1.0
LIMIT_HOLD_S = 2.0  # a limit may be overstepped for so long: the charger needs time to follow a lowered one
OVER_VOLTAGE_HOLD_S = 0.4  # IEC 61851-23:2023 Table 104: above the car's maximum, error shutdown after 400 ms
TAPER_FROM = 0.8  # state of charge above which the charge limit falls, to a tenth at full
TAPER_WIDTH = 0.1  # the discharge limit falls to zero over this much above the minimum
VOLTAGE_NOISE_V = 0.2  # of the car's own voltage measurement


RUNNING = frozenset((Secc.CONNECTED, Secc.INSULATION, Secc.PRECHARGE, Secc.WAIT_FOR_CHARGE, Secc.CHARGING))
_BATT_A, _BATT_V, _K_EV, _DUTY, _SOC = (INDEX[name] for name in ("batt_i_a", "batt_v_v", "k_ev", "cp_duty_pct", "soc"))


class EmulatedCar:
    """Call `step` every 10 ms or so. `state` and `reason` tell where it stands and why the last session ended.

    negotiation_s: from plug and pilot duty to an agreed session. Attributes that may be bent at any time: `v_max_v`,
    `v_min_v`, `charge_max_a`, `discharge_max_a` (battery limits before tapering), `power_max_kw`, `v2g` (discharge
    permitted), `soc_min`, `soc_target` (0..1), `mute` (the SECC sends nothing). The defaults are those of the plant's
    battery: 96 NMC cells in series (4.25 V and 3.1 V at their ends), 57 kWh.
    """

    def __init__(self, link: PlantLink, rng: random.Random, negotiation_s: float = 2.0) -> None:
        self.v_max_v, self.v_min_v = 408.0, 300.0
        self.charge_max_a, self.discharge_max_a = 125.0, 80.0
        self.power_max_kw = 50
        self.capacity_kwh = 57.0
        self.soc_min, self.soc_target = 0.2, 1.0
        self.v2g = True
        self.mute = False
        self.state = Secc.WAITING
        self.reason = ""
        self.opened_at_a = 0.0  # battery current when the car last opened its contactor
        self.weld_suspected = False  # the cable's voltage did not fall with the car's contactor open
        self._link, self._rng = link, rng
        self._negotiation_s = negotiation_s
        self._wants = False
        self._sent_away = False  # the session did not end by the driver's will
        self._woken = False  # sent away, and the pilot has been without PWM since
        self._since = 0.0
        self._now = 0.0
        self._next_frames = -math.inf
        self._emergency_until = -math.inf
        self._wait_s = OPEN_WAIT_S
        self._charger: dict[int, tuple[float, Mapping[str, float]]] = {}
        self._held: dict[str, float] = {}
        self._test_v = 0.0
        self._insulation_passed = False
        link.ev_cp_state = 1.0

    # ---------------------------------------------------------------------------------------------------- the driver
    def plug_in(self) -> None:
        """Plug in, or start again when already plugged in and at rest."""
        self._link.ev_plugged = 1.0
        if self.state is Secc.WAITING:
            self._link.ev_cp_state = 2.0
            self._wants, self.reason, self.weld_suspected = True, "", False
            self._sent_away = self._woken = False

    def request_stop(self) -> None:
        """The driver presses stop."""
        self._wants = self._sent_away = False
        if self.state is Secc.NEGOTIATING or self.state in RUNNING:
            self._end("the driver stopped it")

    def unplug(self) -> None:
        """Pull the plug. Under load this is the fault of a broken lock: the car opens its contactor at once."""
        link = self._link
        self._open_contactor()
        link.ev_plugged, link.ev_cp_state = 0.0, 1.0
        self._wants = self._sent_away = False
        if self.state not in (Secc.WAITING, Secc.CLOSING):
            self.reason = "unplugged"
            self._go(Secc.CLOSING)

    def emergency(self, reason: str) -> None:
        """The car's emergency shutdown: it says so, waits half a second for the current to fall, and opens."""
        if self.state in RUNNING or self.state is Secc.NEGOTIATING:
            self._emergency_until = self._now + 1.0
            self._end(reason, EMERGENCY_WAIT_S)

    # ------------------------------------------------------------------------------------------------------- the bus
    def receive(self, now: float, frame: CanFrame) -> None:
        if frame.id in (POWER_STATUS, POWER_PARAMETERS, POWER_SEQUENCE):
            fields = decode(frame)
            if fields is not None:
                self._charger[frame.id] = (now, fields)

    def step(self, now: float) -> list[CanFrame]:
        self._now = now
        self._protect()
        self._STATES[self.state](self)
        if now < self._next_frames - 1e-9:
            return []
        late = math.isinf(self._next_frames) or now - self._next_frames > PERIOD_S
        self._next_frames = (now if late else self._next_frames) + PERIOD_S
        return [] if self.mute else self._frames()

    def _told(self, frame_id: int, name: str) -> float:
        """What the charger last said, 0 when it has been silent."""
        entry = self._charger.get(frame_id)
        if entry is None or self._now - entry[0] > CHARGER_SILENT_S:
            return 0.0
        return entry[1][name]

    def _frames(self) -> list[CanFrame]:
        link, low_a, high_a = self._link, -self.discharge_limit_a(), self.charge_limit_a()
        function, volts, lower = OFF, 0.0, False
        if self.state is Secc.INSULATION:
            function = STANDBY if self._insulation_passed else INSULATION_TEST
            volts, lower = (0.0, True) if self._insulation_passed else (self._test_v, False)
        elif self.state in (Secc.PRECHARGE, Secc.WAIT_FOR_CHARGE):
            function, volts = PRECHARGE, self._battery_v()
        elif self.state is Secc.CHARGING:
            function, volts = POWER_TRANSFER, self.v_max_v
        elif self.state in (Secc.NEGOTIATING, Secc.CONNECTED, Secc.ENDING, Secc.WELDING):
            function = STANDBY
        frames = request_frames(
            self.state, function, volts, low_a, high_a, contactor_closed=link.k_ev != 0.0, lower_voltage=lower
        )
        if self.state in RUNNING or self.state in (Secc.ENDING, Secc.WELDING):
            battery = Battery(
                self._soc(), self.soc_min, self.soc_target, self.capacity_kwh, self.v_min_v, self.v_max_v,
                self._battery_v(), low_a, high_a, self.power_max_kw,
            )  # fmt: skip
            frames += battery_frames(battery)
        if self._now < self._emergency_until:
            frames.append(emergency_frame())
        return frames

    # --------------------------------------------------------------------------------------------------- the battery
    def _soc(self) -> float:
        soc = self._link.values[_SOC]
        return 0.0 if soc < 0.0 else 1.0 if soc > 1.0 else soc

    def _battery_v(self) -> float:
        return max(0.0, self._link.batt_v_v + self._rng.gauss(0.0, VOLTAGE_NOISE_V))

    def charge_limit_a(self) -> float:
        """Falls from TAPER_FROM to a tenth at full, and is zero at the target."""
        soc = self._soc()
        if soc >= self.soc_target:
            return 0.0
        return self.charge_max_a * min(1.0, 1.0 - 0.9 * (soc - TAPER_FROM) / (1.0 - TAPER_FROM))

    def discharge_limit_a(self) -> float:
        """Zero at and below the minimum state of charge, or when discharging is not permitted."""
        above = (self._soc() - self.soc_min) / TAPER_WIDTH
        return self.discharge_max_a * min(1.0, max(0.0, above)) if self.v2g else 0.0

    def _lasts(self, name: str, present: bool, hold_s: float) -> bool:
        if not present:
            if self._held:
                self._held.pop(name, None)
            return False
        return self._now - self._held.setdefault(name, self._now) >= hold_s

    def _protect(self) -> None:
        """What makes a car give up at once."""
        if self.state not in RUNNING:
            self._held.clear()
            return
        x = self._link.values
        amps, volts = x[_BATT_A], x[_BATT_V]
        too_high = amps > self.charge_limit_a() * 1.1 + 2.0
        too_low = amps < -(self.discharge_limit_a() * 1.1 + 2.0)
        over = bool(x[_K_EV]) and volts > self.v_max_v * 1.01
        if self._lasts("pilot", not DUTY_PCT[0] <= x[_DUTY] <= DUTY_PCT[1], PILOT_LOST_S):
            self.emergency("the control pilot was lost")
        elif self._now - self._charger.get(POWER_STATUS, (self._since, {}))[0] > CHARGER_SILENT_S:
            self.emergency("the charger was silent")
        elif self._lasts("current", too_high or too_low, LIMIT_HOLD_S):
            self.emergency(f"{amps:+.1f} A are outside the battery's limits")
        elif self._lasts("voltage", over, OVER_VOLTAGE_HOLD_S):
            self.emergency(f"{volts:.0f} V are above the battery's maximum")

    def _open_contactor(self) -> None:
        if self._link.ev_contactor:
            self.opened_at_a = self._link.batt_i_a
        self._link.ev_contactor = 0.0

    # -------------------------------------------------------------------------------------------------- the sequence
    def _go(self, state: Secc) -> None:
        self.state, self._since = state, self._now
        self._held.clear()

    def _end(self, reason: str, wait_s: float = OPEN_WAIT_S) -> None:
        self.reason, self._wait_s = reason, wait_s
        self._sent_away, self._wants = self._wants, False
        self._go(Secc.ENDING)

    def _elapsed(self) -> float:
        return self._now - self._since

    def _stop_asked(self) -> bool:
        return self._told(POWER_SEQUENCE, "Sq_UserStop") == 1.0

    def _waiting(self) -> None:
        """A car that was sent away sleeps until the PWM goes and comes back: the pilot toggle of ISO 15118-3."""
        low, high = DUTY_PCT
        offered = low <= self._link.cp_duty_pct <= high
        if not offered:
            self._woken = self._sent_away
        elif self._link.ev_plugged and (self._wants or self._woken):
            self._wants, self._sent_away, self._woken = True, False, False
            self._go(Secc.NEGOTIATING)

    def _negotiating(self) -> None:
        if not DUTY_PCT[0] <= self._link.cp_duty_pct <= DUTY_PCT[1]:
            self._go(Secc.WAITING)  # nothing agreed, nothing lost: begin again with the next 5 %
        elif self._elapsed() >= self._negotiation_s:
            self._go(Secc.CONNECTED)

    def _connected(self) -> None:
        """Hold until the charger is able: enabled, authorised, and its voltage reaches the battery's."""
        top_v = self._told(POWER_PARAMETERS, "Pw_MaxVoltage")
        able = self._told(POWER_STATUS, "Pw_SystemEnable") and self._told(POWER_SEQUENCE, "Sq_StartAuthorised")
        if not (able and top_v and self._told(POWER_SEQUENCE, "Sq_CcsAuthorisationValid")):
            return
        if top_v < self._link.batt_v_v:
            self._end(f"the charger reaches {top_v:.0f} V only")
            return
        # IEC 61851-23:2023 CC.4.1.2 as cited by EVerest.
        high_v = self.v_max_v + 50.0 if self.v_max_v <= 500.0 else 1.1 * self.v_max_v
        self._test_v = min(high_v, top_v, 500.0 if self.v_max_v <= 500.0 else top_v)
        self._insulation_passed = False
        self._link.ev_cp_state = 3.0
        self._go(Secc.INSULATION)

    def _insulation(self) -> None:
        """The SECC's rule: 90 % of the voltage and enough resistance, then below 20 V."""
        volts = self._told(POWER_STATUS, "Pw_Voltage")
        ohms = self._told(POWER_STATUS, "Pw_InsulationResistance") * 1000.0
        if self._stop_asked():
            self._end("the charger ended it")
        elif not self._insulation_passed:
            self._insulation_passed = volts >= INSULATION_REACHED * self._test_v and ohms >= INSULATION_MIN_OHM
        elif volts < DISCHARGED_V and self._link.cable_v_v < DISCHARGED_V:
            self._go(Secc.PRECHARGE)
        if self.state is Secc.INSULATION and self._elapsed() > CABLE_CHECK_TIMEOUT_S:
            self._end("the cable check took too long")

    def _precharge(self) -> None:
        near = abs(self._link.cable_v_v - self._link.batt_v_v) < PRECHARGE_WINDOW_V
        if self._stop_asked():
            self._end("the charger ended it")
        elif self._lasts("near", near, PRECHARGE_HOLD_S):
            self._link.ev_contactor = 1.0
            self._go(Secc.WAIT_FOR_CHARGE)
        elif self._elapsed() > PRECHARGE_TIMEOUT_S:
            self._end("precharge took too long")

    def _wait_for_charge(self) -> None:
        if self._stop_asked():
            self._end("the charger ended it")
        elif self._link.k_ev:
            self._go(Secc.CHARGING)
        elif self._elapsed() > CONTACTOR_TIMEOUT_S:
            self._end("the car's contactor did not close")

    def _charging(self) -> None:
        if self._stop_asked():
            self._end("the charger ended it")

    def _ending(self) -> None:
        still = abs(self._link.batt_i_a) < OPEN_CURRENT_A
        if (still and self._elapsed() >= min(ENDING_MIN_S, self._wait_s)) or self._elapsed() >= self._wait_s:
            self._open_contactor()
            self._go(Secc.WELDING)

    def _welding(self) -> None:
        """With the car's contactor open the cable must fall; the car stays in state C until it has looked."""
        if self._link.k_ev == 0.0 and self._link.cable_v_v < WELDING_V:
            self._close()
        elif self._elapsed() > WELDING_TIMEOUT_S:
            self.weld_suspected = True
            self._close()

    def _close(self) -> None:
        self._link.ev_cp_state = 2.0 if self._link.ev_plugged else 1.0
        self._go(Secc.CLOSING)

    def _closing(self) -> None:
        if self._elapsed() >= CLOSING_S:
            self._go(Secc.WAITING)

    _STATES: ClassVar[Mapping[Secc, Callable[[EmulatedCar], None]]] = {
        Secc.WAITING: _waiting,
        Secc.NEGOTIATING: _negotiating,
        Secc.CONNECTED: _connected,
        Secc.INSULATION: _insulation,
        Secc.PRECHARGE: _precharge,
        Secc.WAIT_FOR_CHARGE: _wait_for_charge,
        Secc.CHARGING: _charging,
        Secc.ENDING: _ending,
        Secc.WELDING: _welding,
        Secc.CLOSING: _closing,
    }

    # -------------------------------------------------------------------------------------------------- rig's commands
    def handle(self, command: dict[str, Any]) -> None:
        """{"plug_in": true}, {"unplug": true}, {"stop": true}, {"emergency": true}, {"mute": bool}, {"v2g": bool},
        {"limits": [charge A, discharge A]}, {"v_max_v": V}, {"v_min_v": V}, {"soc_min": 0..1}, {"soc_target": 0..1}.
        Several at once are all checked first. The state of charge belongs to the plant. Raises ValueError."""
        actions: dict[str, Callable[[], None]] = {
            "plug_in": self.plug_in,
            "unplug": self.unplug,
            "stop": self.request_stop,
            "emergency": lambda: self.emergency("the driver's emergency stop"),
        }
        for name, value in checked("car", _COMMANDS, command).items():
            if name in actions:
                actions[name]()
            elif name == "limits":
                self.charge_max_a, self.discharge_max_a = value
            else:
                setattr(self, name, value)


_COMMANDS = {
    **dict.fromkeys(("plug_in", "unplug", "stop", "emergency"), ACTION),
    **dict.fromkeys(("mute", "v2g"), FLAG),
    "limits": Rule(
        lambda v: isinstance(v, list) and len(v) == 2 and all(is_number(a, 0.0, 500.0) for a in v),
        "[charge A, discharge A], each 0 to 500",
        lambda v: (float(v[0]), float(v[1])),
    ),
    **dict.fromkeys(("v_max_v", "v_min_v"), number(0.0, 1000.0, "V")),
    **dict.fromkeys(("soc_min", "soc_target"), number(0.0, 1.0, "(share)")),
}


class _Process:
    def __init__(self, shm: str, bus: str, seed: int) -> None:
        self._bus = open_bus(BusSpec.parse(bus, bitrate=500_000))
        self._shared = SharedLink(shm)
        self._car = EmulatedCar(self._shared.link, random.Random(seed))
        self.handle = self._car.handle

    def step(self, now: float) -> None:
        for frame in self._bus.recv(now):
            self._car.receive(now, frame)
        for frame in self._car.step(now):
            self._bus.send(frame)

    def close(self) -> None:
        self._bus.close()
        self._shared.close()


def main() -> int:
    parser = arguments("emulated external SECC on CAN and the car behind it")
    parser.add_argument("--bus", required=True, help="e.g. udp_multicast:239.74.163.3:43114 or socketcan:can1")
    options = parser.parse_args()
    try:
        process = _Process(options.shm, options.bus, options.seed)
    except HalError as error:
        print(error, file=sys.stderr)
        return 1
    return run(process, 0.010)


if __name__ == "__main__":
    raise SystemExit(main())
