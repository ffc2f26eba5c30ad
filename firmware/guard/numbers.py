"""Numbers of the charging sequence, each with its source.

"EVerest" means the constants and clause citations of that open stack as noted in our reading of it; the text of
IEC 61851-23 itself was not available, so a clause here is *as cited there*.
"""

from __future__ import annotations

SAFE_V = 60.0  # V, cable counts as discharged below it; EVerest CABLECHECK_SAFE_VOLTAGE
DISCHARGE_TIMEOUT_S = 10.0  # s, EVerest cable_check step 1
CLOSE_TIMEOUT_S = 5.0  # s, EVerest cable_check_relays_closed_timeout_s
TEST_CURRENT_A = (
    2.0  # A, current limit of cable check and precharge; IEC 61851-23 Annex CC practice (EVerest 6.3 step 6)
)
RAMP_TOLERANCE_V = 10.0  # V, EVerest cable_check step 6
RAMP_TIMEOUT_S = 10.0  # s, EVerest cable_check step 6
SELF_TEST_TIMEOUT_S = 30.0  # s, EVerest cable_check step 7 (some cars give up at 30 s: aim for 25 s in all)
INSULATION_TIMEOUT_S = 5.0  # s per sample, EVerest cable_check step 8
INSULATION_MAX_AGE_S = 3.0  # s; own choice: the monitor is read once a second
PRECHARGE_TOLERANCE_V = 20.0  # V, EVerest bring-up guide; car closes its contactors inside it
PRECHARGE_TIMEOUT_S = 7.0  # s, used by other stacks, standard's text not verified
ZERO_CURRENT_A = 1.0  # A, below it the direction may change; own choice, below the module's 2.5 A test value
REVERSE_TIMEOUT_S = 10.0  # s through zero at most; own choice: ramp 0.75 s, mode 3 s, a cessation in between
OPEN_CURRENT_A = 5.0  # A, contactors open below it; "<5 A" of CC.7.6.20.7 as cited by EVerest
OPEN_WAIT_S = 2.0  # s, waiting for it is bounded; afterwards open and say so (EVerest #1750 pattern)
WELD_TIMEOUT_S = 5.0  # s, own choice: longest time in which the output must fall below SAFE_V
RAMP_UP_A_PER_S = 25.0  # A/s, EVerest default; the standard's minimum for requests is 20 A/s
START_AHEAD_S = 0.3  # s of it at most while the converter still starts: that comes as one step; own choice
RAMP_UP_STEP_S = 0.05  # s, what one tick may add to a rising ramp at most, however long guard was held up; own choice
RAMP_DOWN_A_PER_S = 100.0  # A/s, own choice: 73 A are gone in 0.75 s, well inside WIND_DOWN_S
CAR_REFUSES_A_PER_S = 400.0  # A/s where the car permits no current at all any more: 73 A are gone in 0.18 s; own choice
RESTORE_A_PER_S = 400.0  # A/s after momentary cessation: 73 A within 0.2 s (IEEE 1547-2018 restore <= 0.4 s)
LEASE_GRACE_S = (
    1.0  # s at zero power between one lease and the next before the session ends; services renew every 0.5 s
)
WIND_DOWN_S = 6.0  # s, contactors are open at the latest so long after the last lease (ramp + OPEN_WAIT_S + margin)
SERVICES_SILENT_S = 1.0  # s, services renew twice a second
CAR_SILENT_S = 0.5  # s, ISO 15118-20 control loop: the vehicle side is read every 100 ms; see also SeccBridge
METER_MAX_AGE_S = 3.0
DC_MAX_AGE_S = 0.5  # s, DC voltage and current of the converter (polled at 10 Hz or faster)
TAN_PHI_MAX_AGE_S = 2.0  # s, the converter's confirmed reactive set-point (refreshed every second)
CP_MAX_AGE_S = (
    0.25  # s, pilot state (sent every 20 ms; contactors off within 100 ms of B, Table A.6 seq 8.1 via EVerest)
)
CONVERTER_BOOT_S = 10.0  # s from closing the grid contactor to the converter's first answer, at most
CONVERTER_SETTLE_S = 0.5  # s after its first grid reading before it counts as the second source
OVER_CURRENT_A = 5.0  # A above the set-point (plus 10 %) for OVER_CURRENT_S is a fault; own choice
OVER_CURRENT_S = 0.3
NOT_OFF_S = 0.5  # s after the off command with |I| above OPEN_CURRENT_A: drop the enable, converter_not_off
FAULT_HOLD_S = 10.0  # s, a fault is held at least so long, so that contactors do not chatter
REPEAT_COUNT = 3  # the third trip of one cause within REPEAT_WINDOW_S latches
REPEAT_WINDOW_S = 600.0
LATE_FAULT_COUNT = 10  # late ticks within LATE_WINDOW_S are a fault
LATE_WINDOW_S = 10.0
WRONG_DIRECTION_A = 3.0  # A of opposite sign seen by the DC meter for longer than WRONG_DIRECTION_S
WRONG_DIRECTION_S = 2.0
BATTERY_GONE = 0.8  # share of the car's own minimum voltage that no battery falls below; own choice
BATTERY_GONE_S = 0.1  # s below it; own choice, two readings of the DC voltage
DC_DISAGREE_V = 25.0  # V between DC meter and converter; EVerest voltage plausibility uses 50 V
GAVE_UP_S = (
    5.0  # s after the last missing thing came, in which a car that goes is taken for one that gave up; own choice
)
SLEEP_S = 5.0  # s without power before a converter that may sleep is switched off; own choice, above any zero crossing
WAKE_S = 3.0  # s without PWM before a car we sent away is offered a new session: t_step_X1, IEC 61851-1 via EVerest
PILOT_DUTY_PCT = 5.0  # %, pilot duty that announces high-level communication (IEC 61851-1)


def test_voltage(ev_max_v: float, evse_max_v: float) -> float:
    """Cable-check voltage (V): IEC 61851-23:2023 CC.4.1.2 formula CC.1 as cited by EVerest.

    Up to 500 V: min(500, EV max + 50, EVSE max); above: min(EVSE max, 1.1 x EV max). An unknown EV maximum is 500 V.
    """
    ev = ev_max_v if ev_max_v > 0 else 500.0
    return min(500.0, ev + 50.0, evse_max_v) if ev <= 500.0 else min(evse_max_v, 1.1 * ev)


def over_voltage_limit(ev_max_v: float, evse_max_v: float) -> float:
    """Emergency over-voltage (V): IEC 61851-23:2023 6.3.1.106.2 Table 103 as cited by EVerest."""
    v = min(ev_max_v if ev_max_v > 0 else evse_max_v, evse_max_v)
    for upper, limit in ((500.0, 550.0), (750.0, 825.0), (850.0, 935.0), (1000.0, 1100.0)):
        if v <= upper:
            return limit
    return 1375.0
