"""What is wrong, computed anew every tick from the readings: code of the event table -> detail."""

from __future__ import annotations

import math

from firmware.guard import numbers as n
from firmware.guard.gate import Outputs
from firmware.guard.known import GuardSettings, Known, Readings
from firmware.guard.machine import ENERGIZED, TRANSFER
from firmware.guard.machine import ChargerState as S
from firmware.guard.session import Session
from hal.ports import ConverterStatus, Direction, InsulationAlarm, PilotStatus, Quality, Reading

_NEEDS_SUPPLY = ("converter_no_echo", "converter_mode_unconfirmed")  # a module whose supply we opened cannot answer
_GOOD, _DC_MAX_AGE_S = Quality.GOOD, n.DC_MAX_AGE_S
_DEVICE_FAULT, _ALARM = InsulationAlarm.DEVICE_FAULT.value, InsulationAlarm.ALARM.value


class Conditions:
    """Keeps the few times that persistence needs; everything else is in the arguments."""

    def __init__(self, settings: GuardSettings) -> None:
        self.notes: list[tuple[str, str]] = []  # events that are no lasting condition
        self._settings = settings
        self._supply_since = -math.inf  # grid contactor closed since; inf = open
        self._seen_since: float | None = None  # first grid reading of the converter since its supply closed
        self._pilot_since: float | None = None
        self._since: dict[str, float] = {}
        self._late: list[float] = []
        self._resets = 0

    def _lasting(self, now: float, name: str, present: bool) -> float:
        """Seconds for which `present` has held without a break; 0.0 when it does not."""
        if not present:
            if self._since:
                self._since.pop(name, None)
            return 0.0
        return now - self._since.setdefault(name, now)

    def converter_expected(self, now: float, readings: Readings, outputs: Outputs | None) -> bool:
        """True while the converter must be answering: supply closed, booted once, and not being switched off."""
        mirrors = readings.pilot.mirrors
        supplied = mirrors is not None and mirrors.value.grid and outputs is not None and outputs.pilot.coils.grid
        if not supplied:
            self._supply_since, self._seen_since = math.inf, None
            return False
        if self._supply_since == math.inf or self._supply_since == -math.inf:
            self._supply_since = now
        grid = readings.converter.grid
        if self._seen_since is None and readings.converter.online and grid is not None and grid.t > self._supply_since:
            self._seen_since = now
        return self._seen_since is not None and now - self._seen_since >= n.CONVERTER_SETTLE_S

    def present(
        self, now: float, readings: Readings, known: Known, outputs: Outputs | None, session: Session, expected: bool
    ) -> dict[str, str]:
        self.notes.clear()
        found: dict[str, str] = {}
        state = session.machine.state
        if readings.missed or self._late:
            self._punctuality(now, readings, found)
        self._pilot(now, readings.pilot, found)
        self._converter(now, readings.converter, outputs, state, expected, found)
        self._current(now, readings.converter, outputs, session, known, found)
        self._services(now, known, state, found)
        return found

    def _punctuality(self, now: float, readings: Readings, found: dict[str, str]) -> None:
        if readings.missed:
            self._late.append(now)
            self.notes.append(("late_tick", f"{readings.late_s * 1000:.1f} ms late, {readings.missed} periods missed"))
        self._late = [t for t in self._late if now - t < n.LATE_WINDOW_S]
        if len(self._late) >= n.LATE_FAULT_COUNT:
            found["late_repeated"] = f"{len(self._late)} times within {n.LATE_WINDOW_S:.0f} s"

    def _pilot(self, now: float, pilot: PilotStatus, found: dict[str, str]) -> None:
        if self._pilot_since is None:
            self._pilot_since = now
        if not pilot.online:
            if now - self._pilot_since > 1.0:
                found["pilot_lost"] = ""
            return
        if pilot.com_timeout:
            found["pilot_safe_state"] = ""
        if pilot.estop:
            found["pilot_estop"] = ""
        for name in pilot.mirror_faults:
            found[f"contactor_{name}_fault"] = "coil and mirror contact disagree"
        for code in pilot.faults:
            found[code] = ""

    def _converter(
        self, now: float, converter: ConverterStatus, outputs: Outputs | None, state: S, expected: bool,
        found: dict[str, str],
    ) -> None:  # fmt: skip
        if expected and not converter.online:
            found["converter_lost"] = ""
        elif not expected and math.isfinite(self._supply_since) and now - self._supply_since > n.CONVERTER_BOOT_S:
            found["converter_missing"] = f"{now - self._supply_since:.0f} s after its supply was closed"
        if converter.online and (converter.faults or converter.warnings):
            supplied = math.isfinite(self._supply_since)
            for code in (*converter.faults, *converter.warnings):
                if supplied or code not in _NEEDS_SUPPLY:
                    found[code] = ""
        if converter.resets != self._resets:
            self._resets = converter.resets
            if state in ENERGIZED:
                self.notes.append(("converter_reset", ""))

    def _current(
        self, now: float, converter: ConverterStatus, outputs: Outputs | None, session: Session, known: Known,
        found: dict[str, str],
    ) -> None:  # fmt: skip
        i, v = usable(converter.i_dc_a, now), usable(converter.v_dc_v, now)
        state = session.machine.state
        if v is not None:
            self._voltage(now, v, session, known, found)
        if state in ENERGIZED and (i is None or v is None):
            # It may answer as much as it likes: blind to its DC side nothing may stay on.
            what = "DC voltage" if v is None else "DC current"
            found.setdefault("converter_lost", f"it has told no {what} for {n.DC_MAX_AGE_S:g} s")
        if i is None or outputs is None:
            self._since.pop("not_off", None)
            self._since.pop("over_current", None)
            return
        command, amps = outputs.converter, abs(i)
        if self._lasting(now, "not_off", not command.on and amps > n.OPEN_CURRENT_A) > n.NOT_OFF_S:
            found["converter_not_off"] = f"{amps:.1f} A"
        over = command.on and amps > command.current_a * 1.1 + n.OVER_CURRENT_A
        if self._lasting(now, "over_current", over) > n.OVER_CURRENT_S:
            found["converter_current"] = f"{amps:.1f} A at a set-point of {command.current_a:.1f} A"
        meter = known.meter
        if meter is None or now - meter.t > n.METER_MAX_AGE_S or state not in TRANSFER:
            self._since.pop("dc_disagree", None)
            return
        if meter.dc_i is not None:
            sign = 1.0 if session.direction is Direction.CHARGE else -1.0
            flowing = state is S.CHARGING or state is S.DISCHARGING
            settled = meter.t - session.machine.since > n.WRONG_DIRECTION_S
            wrong = flowing and settled and sign * meter.dc_i < -n.WRONG_DIRECTION_A
            if wrong:
                found["converter_wrong_direction"] = f"DC meter {meter.dc_i:+.1f} A while {session.direction.value}"
        if meter.dc_v is not None and v is not None:
            apart = abs(meter.dc_v - v) > n.DC_DISAGREE_V
            if self._lasting(now, "dc_disagree", apart) > n.METER_MAX_AGE_S:
                found["dc_disagree"] = f"meter {meter.dc_v:.0f} V, converter {v:.0f} V"

    def _voltage(self, now: float, v: float, session: Session, known: Known, found: dict[str, str]) -> None:
        """Above: one sample decides, since the 9 ms of Table 103 (over_voltage_limit) are over before the second one.

        Below, in transfer: without the battery a discharge pulls the cable down to nothing, and the current that the
        same power would need there rises without end until somebody closes a contactor again.
        """
        car = known.car_status
        floor_v = max(n.SAFE_V, n.BATTERY_GONE * (car.v_min_v if car is not None else 0.0))
        gone = session.machine.state in TRANSFER and v < floor_v
        if self._lasting(now, "battery_gone", gone) > n.BATTERY_GONE_S:
            found["car_disconnected"] = f"{v:.0f} V, less than {floor_v:.0f} V"
        if session.machine.state not in ENERGIZED:
            return
        limit = n.over_voltage_limit(car.v_max_v if car is not None else 0.0, self._settings.voltage_v)
        if v > limit:
            found["dc_over_voltage"] = f"{v:.0f} V above {limit:.0f} V"

    def _services(self, now: float, known: Known, state: S, found: dict[str, str]) -> None:
        if now - known.services_t > n.SERVICES_SILENT_S:
            found["services_lost"] = ""
        if now - known.refused_t <= n.SERVICES_SILENT_S:
            found["report_refused"] = known.refused
        if state not in ENERGIZED:
            return
        if known.car is None or now - known.car.t > n.CAR_SILENT_S:
            found["car_lost"] = ""
        insulation = known.insulation
        if state is S.PRECHARGE or state in TRANSFER:  # these need a fresh, good insulation reading
            if insulation is None or now - insulation.t > n.INSULATION_MAX_AGE_S:
                found["insulation_lost"] = ""
            elif insulation.alarm == _DEVICE_FAULT:
                found["insulation_device"] = ""
            elif insulation.r_ohm < self._settings.insulation_min_ohm:
                found["insulation_low"] = f"{insulation.r_ohm / 1000:.0f} kOhm"
            elif insulation.alarm == _ALARM:
                found["insulation_low"] = f"the device's own alarm at {insulation.r_ohm / 1000:.0f} kOhm"


def usable(reading: Reading[float] | None, now: float) -> float | None:
    """The value of a fresh reading; None for an old one, and for one that is no number."""
    if reading is None:
        return None
    value = reading.value
    good = reading.quality is _GOOD and now - reading.t <= _DC_MAX_AGE_S  # as Reading.fresh: nine times a tick
    return value if good and -math.inf < value < math.inf else None
