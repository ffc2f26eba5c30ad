"""Driver of an external SECC on CAN, generic EVSE interface version 3.x (docs/drivers/secc_bridge.md). Sans I/O.

The frames are those of `secc_bridge_v3.dbc`; signs are ours already: + charges the car.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hal.dbc import Codec, load
from hal.ports import CanFrame, CarPhase, CarStatus, ChargerReport, Reading

SECC_STATUS, SECC_REQUEST, SECC_EMERGENCY = 0x6B000, 0x6B003, 0x6B005
EV_BATTERY, EV_VOLTAGES, EV_CHARGE, EV_DISCHARGE = 0x6B100, 0x6B101, 0x6B102, 0x6B103
EV_ENERGY = 0x6B104
POWER_STATUS, POWER_PARAMETERS, POWER_SEQUENCE = 0x63000, 0x63001, 0x63002
RECEIVED = (SECC_STATUS, SECC_REQUEST, SECC_EMERGENCY, EV_BATTERY, EV_VOLTAGES, EV_CHARGE, EV_DISCHARGE, EV_ENERGY)
OFF, STANDBY, INSULATION_TEST, PRECHARGE, POWER_TRANSFER = 0, 1, 2, 4, 8
PERIOD_S = 0.1
INSULATION_MAX_OHM = 510_000.0  # end of the field: 255 steps of 2 kohm

# What a state of the SECC means for the power side, and which function it needs to be believed. With another function
# the session exists but asks for nothing.
_PHASES: Mapping[int, tuple[CarPhase, int | None]] = {
    0: (CarPhase.NONE, None),  # initialising
    1: (CarPhase.NONE, None),  # waiting for a vehicle
    2: (CarPhase.WAIT, None),  # negotiating
    3: (CarPhase.WAIT, None),  # connected
    4: (CarPhase.INSULATION, INSULATION_TEST),
    5: (CarPhase.PRECHARGE, PRECHARGE),
    6: (CarPhase.PRECHARGE, PRECHARGE),  # waiting for charge: the car closes its contactors, the voltage must stay
    7: (CarPhase.TRANSFER, None),
    8: (CarPhase.ENDING, None),
    9: (CarPhase.WELDING, None),
    10: (CarPhase.ENDING, None),  # closing communication: nothing may flow any more
    11: (CarPhase.WAIT, None),  # authorisation
    12: (CarPhase.NONE, None),  # not available
    13: (CarPhase.PAUSE, None),
}

_database = load("hal.can", "secc_bridge_v3.dbc")
_CODECS = {message.frame_id: Codec(message) for message in _database.messages}


def encode(frame_id: int, fields: Mapping[str, float]) -> CanFrame:
    """A frame from physical values. Raises cantools' EncodeError on a missing or out-of-range field."""
    return CanFrame(frame_id, _CODECS[frame_id].encode(fields))


def decode(frame: CanFrame) -> dict[str, float] | None:
    """Physical values by signal name; None for another identifier, a wrong length or a value out of its range."""
    codec = _CODECS.get(frame.id)
    if codec is None or not frame.extended or frame.error:
        return None
    return codec.decode(frame.data)


class SeccBridge:
    """ports.VehicleLink over the SECC bridge.

    offline_after_s: without both a state and a request frame for so long, `poll` gives None (the interface demands a
    stop when the request stops; five periods of 100 ms is our value). limits_age_s: a limit frame older than this
    counts as missing, and a missing limit is zero (its period is not published; our value).
    """

    def __init__(self, offline_after_s: float = 0.5, limits_age_s: float = 2.0) -> None:
        for name, value in (("offline_after_s", offline_after_s), ("limits_age_s", limits_age_s)):
            if not value > 0:
                raise ValueError(f"{name} is {value}, must be above 0")
        self.offline_after_s = offline_after_s
        self.bad_frames = 0  # frames of the SECC with a wrong length or a value out of range
        self._limits_age_s = limits_age_s
        self._last: dict[int, tuple[float, Mapping[str, float]]] = {}
        self._next_report = -math.inf
        self._reported_stop = False

    def receive(self, now: float, frame: CanFrame) -> None:
        if frame.id not in RECEIVED or not frame.extended or frame.error:
            return
        fields = decode(frame)
        if fields is None or (frame.id == SECC_REQUEST and not _consistent(fields)):
            self.bad_frames += 1
            return
        self._last[frame.id] = (now, fields)

    def poll(self, now: float) -> Reading[CarStatus] | None:
        state = self._fresh(now, SECC_STATUS, self.offline_after_s)
        request = self._fresh(now, SECC_REQUEST, self.offline_after_s)
        if state is None or request is None:
            return None
        t = min(self._last[SECC_STATUS][0], self._last[SECC_REQUEST][0])
        phase, needs = _PHASES[int(state["Secc_State"])]
        function = request["Req_Function"]
        if needs is not None and function != needs:
            phase = CarPhase.WAIT
        if self._fresh(now, SECC_EMERGENCY, self.offline_after_s) is not None:
            phase = CarPhase.ENDING
        target_v = request["Req_Voltage"]
        if phase in (CarPhase.NONE, CarPhase.WAIT, CarPhase.ENDING, CarPhase.WELDING) or request["Req_LowerVoltage"]:
            target_v = 0.0
        i_min_a, i_max_a = self._range(now, phase, request)
        voltages = self._fresh(now, EV_VOLTAGES, self._limits_age_s) or {}
        battery = self._fresh(now, EV_BATTERY, self._limits_age_s)
        capacity_kwh = battery["Ev_Capacity"] if battery else 0.0
        status = CarStatus(
            phase=phase,
            target_v=target_v,
            i_max_a=i_max_a,
            i_min_a=i_min_a,
            v_max_v=voltages.get("Ev_VoltageMax", 0.0),
            v_min_v=voltages.get("Ev_VoltageMin", 0.0),
            soc_pct=float(battery["Ev_SocPresent"]) if battery else None,
            capacity_wh=capacity_kwh * 1000.0 if capacity_kwh else None,  # 0 = not told: no limit depends on it
        )
        return Reading(status, t)

    def _range(self, now: float, phase: CarPhase, request: Mapping[str, float]) -> tuple[float, float]:
        """[lowest, highest] current in A. Zero always lies inside: the power side may always give nothing.

        Outside precharge and power transfer the range is zero. In target mode the target is one end of it. The car's
        own limits (current, power over voltage, and a voltage range to work in) narrow it; each missing one is zero.
        """
        if phase is CarPhase.TRANSFER:
            asked = request["Req_Function"] == POWER_TRANSFER
        else:
            asked = phase is CarPhase.PRECHARGE
        voltages = self._fresh(now, EV_VOLTAGES, self._limits_age_s)
        if not asked or voltages is None:
            return 0.0, 0.0
        high = request["Req_CurrentMax"]
        low = request["Req_CurrentMin"] if request["Req_RangeMode"] else high
        v = voltages["Ev_VoltagePresent"] or request["Req_Voltage"]
        charge = discharge = 0.0
        limits = self._fresh(now, EV_CHARGE, self._limits_age_s)
        if limits is not None and voltages["Ev_VoltageMax"] and v:
            charge = min(limits["Ev_ChargeCurrentMax"], limits["Ev_ChargePowerMax"] * 1000.0 / v)
        limits = self._fresh(now, EV_DISCHARGE, self._limits_age_s)
        if limits is not None and voltages["Ev_VoltageMin"] and v:
            discharge = min(limits["Ev_DischargeCurrentMax"], limits["Ev_DischargePowerMax"] * 1000.0 / v)
        return min(0.0, max(low, -discharge)), max(0.0, min(high, charge))

    def _fresh(self, now: float, frame_id: int, max_age_s: float) -> Mapping[str, float] | None:
        entry = self._last.get(frame_id)
        return entry[1] if entry is not None and now - entry[0] <= max_age_s else None

    def report(self, now: float, report: ChargerReport) -> Sequence[CanFrame]:
        """Three frames every 100 ms, and at once when `stop` appears.

        A value that is not a number is not sent, and neither is its frame: silence is what the SECC understands.
        """
        urgent = report.stop and not self._reported_stop
        if now < self._next_report - 1e-6 and not urgent:
            return ()
        late = now - self._next_report > PERIOD_S
        self._next_report = (now if late or urgent else self._next_report) + PERIOD_S
        self._reported_stop = report.stop
        frames = []
        if math.isfinite(report.v_v) and math.isfinite(report.i_a):
            ohm = report.insulation_ohm
            known = ohm is not None and not math.isnan(ohm) and ohm > 0.0
            frames.append(
                encode(
                    POWER_STATUS,
                    {
                        "Pw_Voltage": _limit(report.v_v, 0.0, 6553.0),
                        "Pw_Current": _limit(report.i_a, -3276.0, 3276.0),
                        "Pw_ModuleTemperature": -40,  # the report carries no temperatures; -40 is the field's zero
                        "Pw_EnclosureTemperature": -40,
                        "Pw_SystemEnable": report.ready and not report.stop,
                        # Rounded down, and unknown is zero: insulation must not look better than it was measured.
                        "Pw_InsulationResistance": min(ohm, INSULATION_MAX_OHM) // 2000 * 2 if ohm and known else 0,
                    },
                )
            )
        values = (report.v_max_v, report.i_charge_max_a, report.i_discharge_max_a, report.i_a)
        if all(map(math.isfinite, values)):
            frames.append(
                encode(
                    POWER_PARAMETERS,
                    {
                        "Pw_MaxVoltage": _limit(report.v_max_v, 0.0, 6553.0, down=True),
                        "Pw_MaxChargeCurrent": _limit(report.i_charge_max_a, 0.0, 6553.0, down=True),
                        "Pw_MaxDischargeCurrent": _limit(report.i_discharge_max_a, 0.0, 6553.0, down=True),
                        "Pw_RangeTargetCurrent": _limit(report.i_a, -3276.0, 3276.0),
                    },
                )
            )
        frames.append(
            encode(
                POWER_SEQUENCE,
                {
                    "Sq_StartAuthorised": not report.stop,
                    "Sq_ChademoStartButton": 0,
                    # Who may charge is not decided on this link.
                    "Sq_CcsAuthorisationDone": 1,
                    "Sq_CcsAuthorisationValid": not report.stop,
                    "Sq_ChargeParametersDone": 1,
                    "Sq_UserStop": report.stop,
                },
            )
        )
        return tuple(frames)


def _consistent(request: Mapping[str, float]) -> bool:
    return not request["Req_RangeMode"] or request["Req_CurrentMin"] <= request["Req_CurrentMax"]


def _limit(value: float, low: float, high: float, *, down: bool = False) -> float:
    """Inside the field's range, in steps of 0.1; `down`: never more than the value (limits)."""
    value = min(max(value, low), high)
    return math.floor(value * 10.0 + 1e-6) / 10.0 if down else round(value, 1)
