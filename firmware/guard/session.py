"""The sequence of a charging session: in which state which voltage, current and coil is wanted, and when it moves on.

`Session.tick` turns what is known (`View`) into events for the state machine and returns a `Decision`. It permits
nothing: the gate does. Numbers and their sources are in `numbers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from firmware.guard import numbers as n
from firmware.guard.events import Severity
from firmware.guard.gate import Decision
from firmware.guard.machine import ENERGIZED, TRANSFER, ChargerMachine
from firmware.guard.machine import ChargerState as S
from firmware.guard.view import View
from hal.ports import CarPhase, CarStatus, Coils, Direction

MIN_TRANSFER_W = 50.0  # W, a smaller wish is holding; own choice, the module resolves 1 mA
# A car in one of these ends a session; in transfer also one that has begun anew: nobody waits behind closed contactors.
_ENDING: Final = (CarPhase.ENDING, CarPhase.WELDING, CarPhase.PAUSE, CarPhase.NONE)
BEGUN_ANEW: Final = (CarPhase.WAIT, CarPhase.INSULATION)
# A car that was seen in one of these is out of its session, also when its next one has begun before the contactors of
# the old one are open and found open: a car of ISO 15118 asks for its cable check a tenth of a second later.
_RELEASED: Final = (CarPhase.NONE, CarPhase.WAIT)
_RUNNING_OUT: Final = (S.RAMP_DOWN, S.OPENING, S.WELD_CHECK)
_REST_COILS: Final = Coils(grid=True)
_TRIP, _SOFT_STOP = Severity.TRIP, Severity.SOFT_STOP


class Session:
    """State machine plus the few values that live as long as a session."""

    def __init__(self, v_max_v: float) -> None:
        """v_max_v: the charger's own DC voltage rating."""
        self.machine = ChargerMachine()
        self.faults: list[tuple[str, str]] = []  # causes found in this tick, for the book of faults
        self.notes: list[tuple[str, str]] = []  # events found in this tick that are no faults
        self.self_test_serial = 0
        self.direction = Direction.CHARGE
        self.i_set_a = 0.0
        self.cause = ""  # why the last session ended
        self._v_max_v = v_max_v
        self._dc = False
        self._precharge = False
        self._precharge_asked: float | None = None
        self._precharge_v = 0.0
        self._restore_a = 0.0
        self.idle = False  # ceased, and the converter has said that it is off and without current: it may wait running
        self._ceased_t: float | None = None
        self._car_released = False
        self._car_waited = self._gave_up = False  # it was told to wait, and it went while something was missing
        self._ready_t: float | None = None  # since when nothing but the car has been missing
        self._speaks = False  # the car went on speaking after its last session: there is nobody to wake
        self._wake_t = float("-inf")
        self._test_v = 0.0
        self._last = 0.0
        self._car = CarStatus()  # the last known: its limits hold while power ramps down after it fell silent

    # ------------------------------------------------------------------------------------------------ one tick
    def tick(self, now: float, v: View) -> Decision:
        self.faults.clear()
        self.notes.clear()
        dt, self._last = max(0.0, now - self._last), now
        self._car = v.car or self._car
        self.i_set_a = min(self.i_set_a, v.sent_a)  # a ramp goes on from what really left, never from a wish
        self._interrupt(now, v)
        self._watch_cessation(now, v)
        state = self.machine.state
        if state in _RUNNING_OUT and v.car is not None and v.car.phase in _RELEASED:
            self._car_released = True
        step = _STEPS.get(state)
        decision = step(self, now, v, dt) if step else Decision()
        if self.machine.state is not state:
            self._entered(now, v)
        return decision

    def _fire(self, event: str, now: float) -> None:
        self.machine.fire(event, now)

    def _interrupt(self, now: float, v: View) -> None:
        """What ends a session from any state. The first cause that applies is the one that is told."""
        state = self.machine.state
        if state not in ENERGIZED and state is not S.RAMP_DOWN:
            if v.severity >= _SOFT_STOP and state in (S.IDLE, S.CONNECTED, S.FINISHED):
                self._fire("fail", now)
                self._entered(now, v)
            return
        if v.severity >= _TRIP or not v.grid.may_connect:
            self.cause = "grid" if not v.grid.may_connect else "fault"
            self._fire("open_now", now)
            self._entered(now, v)
        elif state is S.RAMP_DOWN:
            return
        elif self._dc and not v.in_c:
            self.faults.append(("car_left_c", f"in state {state.value}"))
            self.cause = "fault"
            self._fire("open_now", now)
            self._entered(now, v)
        else:
            self.cause = self._soft_stop(v)
            if self.cause:
                self._fire("wind_down", now)
                self._entered(now, v)

    def _soft_stop(self, v: View) -> str:
        if v.severity >= _SOFT_STOP:
            return "fault"
        if v.stopped:
            return "operator"
        if not v.held:
            self.notes.append(("no_lease", ""))
            return "lease"
        if not v.converter.ready:
            return "converter"
        phase = v.car.phase if v.car is not None else CarPhase.TRANSFER
        if phase is not CarPhase.TRANSFER and (
            phase in _ENDING or (self.machine.state in TRANSFER and phase in BEGUN_ANEW)
        ):
            self.notes.append(("car_stop", phase.value))
            return "car"
        return ""

    def _entered(self, now: float, v: View) -> None:
        state = self.machine.state
        self.notes.append(("state", state.value))
        if state in _RUNNING_OUT and self.machine.previous in ENERGIZED:
            self._car_released = False
        if state is S.CABLE_SELF_TEST:
            self.self_test_serial += 1
        elif state is S.CABLE_DISCHARGE:
            self.notes.append(("session_started", ""))
            ev_max = v.car.v_max_v if v.car else 0.0
            limits = v.converter.limits
            self._test_v = n.test_voltage(ev_max, min(self._v_max_v, limits.v_max_v if limits else 0.0))
            self.direction = Direction.CHARGE
            self._restore_a = 0.0
        elif state is S.PRECHARGE:
            self._precharge_asked, self._precharge_v = None, 0.0
        elif state is S.OPENING:
            self._dc = self._precharge = False
            self.i_set_a = 0.0
        elif state is S.FINISHED:
            if self.machine.previous is S.CONNECTED:
                self._car_released = False
            self._car_waited = self._gave_up = False
            self.notes.append(("session_ended", self.cause))
        elif state is S.FAULT:
            self.i_set_a = 0.0
            self._dc = self._precharge = False
            if self.machine.previous in (S.OPENING, S.WELD_CHECK):
                self.notes.append(("session_ended", self.cause))
        elif state is S.CONNECTED and self.machine.previous is S.IDLE:
            self.notes.append(("car_plugged", ""))
        elif state is S.IDLE and self.machine.previous is not S.FAULT:
            self.notes.append(("car_unplugged", ""))

    # ------------------------------------------------------------------------------------------------ at rest
    def _rest(self, duty_pct: float | None) -> Decision:
        return Decision(coils=_REST_COILS, duty_pct=duty_pct)

    def _idle(self, now: float, v: View, dt: float) -> Decision:
        if v.plugged:
            self._fire("plugged", now)
        return self._rest(None)

    def _connected(self, now: float, v: View, dt: float) -> Decision:
        if not v.plugged:
            self._car_waited = self._gave_up = False
            self._fire("unplugged", now)
        elif self.may_begin(v) and v.in_c and v.car is not None and v.car.phase is CarPhase.INSULATION:
            self._fire("begin", now)
        elif v.car is not None and v.car.phase in (CarPhase.PRECHARGE, CarPhase.TRANSFER):
            # A session that this guard never began (it was started again in the middle of one): the car must end it.
            self.cause = "restart"
            self._fire("orphan", now)
        waking = self.machine.previous is S.FINISHED and not self._speaks and now - self.machine.since < n.WAKE_S
        waking |= self._wake_given_up(now, v)
        return self._rest(None if waking else n.PILOT_DUTY_PCT)

    def _wake_given_up(self, now: float, v: View) -> bool:
        """A car gives up when it is made to wait for too long (a minute in ISO 15118), and then sleeps. Once nothing
        is missing any more the pilot is without PWM for WAKE_S, which wakes it. Not a car that went while nothing had
        been missing for GAVE_UP_S: it had its own reason, and would be woken for ever."""
        ready, phase = self.may_begin(v), v.car.phase if v.car is not None else None
        self._ready_t = None if not ready else now if self._ready_t is None else self._ready_t
        lately = self._ready_t is None or now - self._ready_t < n.GAVE_UP_S
        if phase is CarPhase.WAIT:
            self._car_waited = True
        elif phase is CarPhase.NONE and self._car_waited:
            self._car_waited, self._gave_up = False, lately
        if self._gave_up and ready:
            self._gave_up, self._wake_t = False, now
        return now - self._wake_t < n.WAKE_S

    def may_begin(self, v: View) -> bool:
        """True when nothing but the car is missing for a session."""
        return (
            v.lease
            and not v.stopped
            and v.severity < Severity.NO_ENTRY
            and v.grid.may_transfer
            and v.converter.ready
            and v.insulation_ohm is not None
        )

    def _finished(self, now: float, v: View, dt: float) -> Decision:
        self._car_released |= v.car is None or v.car.phase in (CarPhase.NONE, CarPhase.WAIT)
        if not v.plugged:
            self._fire("unplugged", now)
        elif self._car_released and self.may_begin(v):
            self._speaks = v.car is not None and v.car.phase in BEGUN_ANEW
            self._fire("again", now)
        return self._rest(n.PILOT_DUTY_PCT)

    def _fault(self, now: float, v: View, dt: float) -> Decision:
        if v.severity < Severity.SOFT_STOP:
            self._fire("recover", now)
        return self._rest(None)

    # -------------------------------------------------------------------------------------------- cable check
    def _live(self, **wanted: float | bool | Direction) -> Decision:
        coils = Coils(grid=True, dc=self._dc, precharge=self._precharge, converter_enable=True)
        # The keywords are fields of Decision at every call; their types are lost in **wanted.
        return Decision(coils=coils, duty_pct=n.PILOT_DUTY_PCT, **wanted)  # type: ignore[arg-type]

    def _dead_cable(self, v: View) -> bool:
        return v.v_dc_v is not None and v.v_dc_v < n.SAFE_V and (v.cable_v is None or abs(v.cable_v) < n.SAFE_V)

    def _timeout(self, now: float, limit_s: float, code: str, detail: str) -> None:
        if now - self.machine.since > limit_s and not self.faults:
            self.faults.append((code, detail))

    def _cable_discharge(self, now: float, v: View, dt: float) -> Decision:
        if self._dead_cable(v):
            self._fire("cable_dead", now)
        else:
            self._timeout(
                now,
                n.DISCHARGE_TIMEOUT_S,
                "cable_not_discharged",
                f"{_volts(v.v_dc_v)} after {n.DISCHARGE_TIMEOUT_S:.0f} s",
            )
        return self._live()

    def _cable_close(self, now: float, v: View, dt: float) -> Decision:
        """Precharge relay first, then the pair, then the relay opens: each step confirmed by the mirror contact."""
        mirrors = v.mirrors or Coils()
        if not self._dc:
            self._precharge = True
            self._dc = mirrors.precharge
        elif mirrors.dc:
            self._precharge = False
            if not mirrors.precharge:
                self._fire("closed", now)
        self._timeout(now, n.CLOSE_TIMEOUT_S, "contactor_timeout", f"mirror contacts: {mirrors}")
        return self._live()

    def _test(self) -> Decision:
        return self._live(
            on=True, test=True, voltage_v=self._test_v, current_a=n.TEST_CURRENT_A, ovp_v=self._test_v + 50.0
        )

    def _cable_ramp(self, now: float, v: View, dt: float) -> Decision:
        if v.v_dc_v is not None and abs(v.v_dc_v - self._test_v) <= n.RAMP_TOLERANCE_V:
            self._fire("ramp_passed", now)
        else:
            self._timeout(now, n.RAMP_TIMEOUT_S, "ramp_test_failed", f"{_volts(v.v_dc_v)} of {self._test_v:.0f} V")
        return self._test()

    def _cable_self_test(self, now: float, v: View, dt: float) -> Decision:
        if v.self_test is not None and v.self_test[0] == self.self_test_serial:
            if v.self_test[1]:
                self._fire("self_test_passed", now)
            else:
                self.faults.append(("insulation_self_test_failed", "the device reports a failed test"))
        else:
            self._timeout(now, n.SELF_TEST_TIMEOUT_S, "insulation_self_test_failed", "no result in time")
        return self._test()

    def _cable_insulation(self, now: float, v: View, dt: float) -> Decision:
        """One sample taken at test voltage decides; the monitor may need the whole time to settle."""
        sample = v.insulation_ohm if v.insulation_t > self.machine.since else None
        if sample is not None and v.insulated:
            self._fire("insulation_good", now)
        elif now - self.machine.since > n.INSULATION_TIMEOUT_S:
            code = "insulation_lost" if sample is None else "insulation_low"
            self.faults.append((code, "" if sample is None else f"{sample / 1000:.0f} kOhm"))
        return self._test()

    def _precharging(self, now: float, v: View, dt: float) -> Decision:
        """Below 60 V first; then the car's voltage with at most 2 A until the car has closed its contactors."""
        car = v.car
        if car is None or car.phase not in (CarPhase.PRECHARGE, CarPhase.TRANSFER):
            self._timeout(now, 60.0, "precharge_timeout", "the car does not ask for precharge")
            return self._live()
        if self._precharge_asked is None:
            if not self._dead_cable(v) and now - self.machine.since < n.DISCHARGE_TIMEOUT_S:
                return self._live()
            self._precharge_asked = now
        if car.phase is CarPhase.PRECHARGE:
            # In transfer the same field means the car's voltage limit.
            self._precharge_v = min(car.target_v, self._top_v(v))
        target_v = self._precharge_v
        # A car that asks for transfer without having named a voltage was never matched, whatever is measured.
        matched = target_v > 0.0 and v.v_dc_v is not None and abs(v.v_dc_v - target_v) <= n.PRECHARGE_TOLERANCE_V
        if matched and car.phase is CarPhase.TRANSFER:
            self._fire("transfer", now)
        elif now - self._precharge_asked > n.PRECHARGE_TIMEOUT_S and not self.faults:
            self.faults.append(("precharge_timeout", f"{_volts(v.v_dc_v)}, the car wants {target_v:.0f} V"))
        return self._live(on=True, test=True, voltage_v=target_v, current_a=n.TEST_CURRENT_A, ovp_v=target_v + 50.0)

    # ----------------------------------------------------------------------------------------------- transfer
    def _top_v(self, v: View) -> float:
        """The highest voltage that car, charger and module all permit."""
        limits = v.converter.limits
        return min(self._car.v_max_v or self._v_max_v, self._v_max_v, limits.v_max_v if limits else 0.0)

    def _transfer(self, v: View) -> Decision:
        car = self._car
        limits = v.converter.limits
        top_v = self._top_v(v)
        floor_v = max(car.v_min_v, limits.v_min_v if limits else 0.0)
        return Decision(
            v.grid.may_transfer or (v.grid.may_idle and self.idle),
            False,  # no test
            self.direction,
            min(car.target_v or top_v, top_v) if self.direction is Direction.CHARGE else top_v,
            self.i_set_a,
            floor_v,
            top_v + 25.0,
            Coils(True, self._dc, self._precharge, True),
            n.PILOT_DUTY_PCT,
        )

    def _watch_cessation(self, now: float, v: View) -> None:
        """Momentary cessation: off at once, for no set-point is as fast. When the voltage is back, and
        the converter has said since then that it is off and carries no current, it is started again at zero current
        and waits for permission: its start-up and the time for which the grid must hold run side by side. What has to
        be gone is the power: IEEE 1547-2018 lets a unit that ceases to energize stay connected, with limited reactive
        exchange."""
        if v.grid.may_transfer or not v.grid.may_connect:
            self._ceased_t, self.idle = None, False
        elif self._ceased_t is None:
            self._ceased_t = now
        else:
            on = v.converter.on
            self.idle |= on is not None and not on.value and on.t > self._ceased_t and self._still(v)

    def _ramp_to(self, target_a: float, v: View, dt: float) -> None:
        """Move the set-point: up by the session's ramp, faster only back to where a momentary cessation cut it."""
        if not v.grid.may_transfer:
            self._restore_a = max(self._restore_a, self.i_set_a)
            self.i_set_a = 0.0
        elif target_a <= self.i_set_a:
            rate = n.CAR_REFUSES_A_PER_S if self._car_refuses() else n.RAMP_DOWN_A_PER_S
            self.i_set_a = max(target_a, self.i_set_a - rate * dt)
            self._restore_a = 0.0  # nothing is left to be restored
        else:
            dt = min(dt, n.RAMP_UP_STEP_S)
            rate = n.RESTORE_A_PER_S if self.i_set_a < self._restore_a else v.rate_a_per_s
            self.i_set_a = min(target_a, self.i_set_a + rate * dt)
            if self.i_set_a >= min(self._restore_a, target_a):
                self._restore_a = 0.0

    def _car_refuses(self) -> bool:
        """The car permits no current in the direction of the power, as one of ISO 15118-20 that has become quiet."""
        return (self._car.i_max_a if self.direction is Direction.CHARGE else self._car.i_min_a) == 0.0

    def _wanted(self, v: View) -> Direction | None:
        if abs(v.permitted_w) < MIN_TRANSFER_W:
            return None
        return Direction.CHARGE if v.permitted_w > 0 else Direction.DISCHARGE

    def _still(self, v: View) -> bool:
        return self.i_set_a == 0.0 and v.i_dc_a is not None and abs(v.i_dc_a) < n.ZERO_CURRENT_A

    def _holding(self, now: float, v: View, dt: float) -> Decision:
        self._ramp_to(0.0, v, dt)
        wanted = self._wanted(v)
        if wanted is not None and v.grid.may_transfer:
            if wanted is self.direction and v.converter.direction is wanted:
                self._fire("charge" if wanted is Direction.CHARGE else "discharge", now)
            else:
                self._fire("reverse", now)
        elif wanted is None and v.sleep and self._still(v) and now - self.machine.since >= n.SLEEP_S:
            return self._live()  # the converter is off behind closed contactors, until anybody wants power
        return self._transfer(v)

    def _flowing(self, now: float, v: View, dt: float) -> Decision:
        wanted = self._wanted(v)
        if wanted is self.direction and v.v_dc_v:
            target_a, on = abs(v.permitted_w) / v.v_dc_v, v.converter.on
            if on is not None and not on.value and not self._restore_a:
                target_a = min(target_a, v.rate_a_per_s * n.START_AHEAD_S)
            self._ramp_to(target_a, v, dt)
        else:
            self._ramp_to(0.0, v, dt)
            if wanted is not None and wanted is not self.direction:
                self._fire("reverse", now)
            elif self._still(v) and v.grid.may_transfer:
                self._fire("hold", now)
        return self._transfer(v)

    def _through_zero(self, now: float, v: View, dt: float) -> Decision:
        """Ramp down, see the current gone, change the mode, see it confirmed; only then power in the new direction."""
        self._ramp_to(0.0, v, dt)
        if self._still(v):
            wanted = self._wanted(v) or self.direction
            self.direction = wanted
            if v.converter.direction is wanted:
                self._fire("hold", now)
        if self.machine.state is S.THROUGH_ZERO:
            amps = "unknown current" if v.i_dc_a is None else f"{v.i_dc_a:.1f} A"
            detail = f"not in the other direction after {n.REVERSE_TIMEOUT_S:.0f} s, {amps}"
            self._timeout(now, n.REVERSE_TIMEOUT_S, "converter_mode_unconfirmed", detail)
        return self._transfer(v)

    # ------------------------------------------------------------------------------------------------- ending
    def _ramp_down(self, now: float, v: View, dt: float) -> Decision:
        """Current down, then open; waiting is bounded, and a car that has left state C is not waited for."""
        self.i_set_a = max(0.0, self.i_set_a - n.RAMP_DOWN_A_PER_S * dt)
        gone = self.i_set_a == 0.0 and v.i_dc_a is not None and abs(v.i_dc_a) < n.OPEN_CURRENT_A
        late = now - self.machine.since > n.OPEN_WAIT_S
        if gone or late or not v.in_c:
            if not gone:
                amps = "unknown current" if v.i_dc_a is None else f"{v.i_dc_a:.1f} A"
                self.notes.append(("open_at_current", amps))
            self._fire("current_gone", now)
        return self._transfer(v) if self.i_set_a > 0.0 else self._live()

    def _opening(self, now: float, v: View, dt: float) -> Decision:
        if v.mirrors is not None and not v.mirrors.dc and not v.mirrors.precharge:
            self._fire("opened", now)
        elif now - self.machine.since > n.CLOSE_TIMEOUT_S:
            if v.severity >= Severity.TRIP:
                self._fire("opened", now)  # the fault that keeps the mirrors from telling stands already
            else:  # the pilot board did not report what its own mirror contacts show, or shows nothing
                stuck = "precharge" if v.mirrors is not None and not v.mirrors.dc else "dc"
                shown = "no mirror contacts" if v.mirrors is None else "closed by its mirror contact"
                self.faults.append((f"contactor_{stuck}_fault", f"{shown} {n.CLOSE_TIMEOUT_S:.0f} s after opening"))
        return self._rest(n.PILOT_DUTY_PCT)

    def _weld_check(self, now: float, v: View, dt: float) -> Decision:
        """With the contactors open the output must fall; a converter without supply cannot tell, the meter can."""
        voltage = v.v_dc_v if v.v_dc_v is not None else v.cable_v
        voltage = None if voltage is None else abs(voltage)  # a meter wired the wrong way round shows it negative
        if v.severity >= Severity.SOFT_STOP and (voltage is None or voltage < n.SAFE_V):
            self._fire("fail", now)
        elif voltage is not None and voltage < n.SAFE_V:
            self._fire("not_welded", now)
        elif now - self.machine.since > n.WELD_TIMEOUT_S:
            if v.v_dc_v is not None:
                self.faults.append(("contactor_welded", f"{v.v_dc_v:.0f} V behind the open contactor"))
                self._fire("fail", now)
            else:
                # Only the mirror contacts and perhaps the car's own voltage on the cable are left to look at.
                self._fire("fail" if v.severity >= Severity.SOFT_STOP else "not_welded", now)
        return self._rest(n.PILOT_DUTY_PCT)


# Not inside of the class: a compiled class has no names of its methods before it is whole.
_STEPS: Final[dict[S, Callable[[Session, float, View, float], Decision]]] = {
    S.IDLE: Session._idle,
    S.CONNECTED: Session._connected,
    S.FINISHED: Session._finished,
    S.FAULT: Session._fault,
    S.CABLE_DISCHARGE: Session._cable_discharge,
    S.CABLE_CLOSE: Session._cable_close,
    S.CABLE_RAMP: Session._cable_ramp,
    S.CABLE_SELF_TEST: Session._cable_self_test,
    S.CABLE_INSULATION: Session._cable_insulation,
    S.PRECHARGE: Session._precharging,
    S.HOLDING: Session._holding,
    S.CHARGING: Session._flowing,
    S.DISCHARGING: Session._flowing,
    S.THROUGH_ZERO: Session._through_zero,
    S.RAMP_DOWN: Session._ramp_down,
    S.OPENING: Session._opening,
    S.WELD_CHECK: Session._weld_check,
}


def _volts(value: float | None) -> str:
    return "unknown voltage" if value is None else f"{value:.0f} V"
