"""Guard's state as one message for everybody who looks: screen, control socket, back end, log."""

from __future__ import annotations

from typing import Any

from firmware.guard import numbers as n
from firmware.guard.machine import ChargerState as S
from firmware.guard.messages import ElementInfo, LimitInfo, Snapshot, TripInfo
from firmware.guard.realtime import Lateness
from firmware.guard.session import BEGUN_ANEW
from firmware.guard.step import Guard
from firmware.guard.why import why
from firmware.power.arbiter import magnitude
from firmware.protection.closest import nearness
from firmware.protection.types import Trip
from hal.ports import Coils, ConverterStatus, PilotStatus, Reading


def _fresh(reading: Reading[float] | None, now: float, max_age_s: float = n.DC_MAX_AGE_S) -> float | None:
    return reading.value if reading is not None and reading.fresh(now, max_age_s) else None


def _trip(trip: Trip | None) -> TripInfo | None:
    if trip is None:
        return None
    source = trip.source.value if trip.source is not None else ""
    return TripInfo(
        trip.element, source, trip.phase, trip.value, trip.threshold, trip.unit, trip.delay_s,
        trip.t_start, trip.t, trip.clause, trip.text,
    )  # fmt: skip


def asked_sentence(guard: Guard) -> str:
    """What is asked, by whom: "would discharge 7.0 kW (operator: peak)"."""
    request = guard.known.request
    if request is None or guard.known.asked_w == 0.0:
        return "Holding: no power is asked for"
    verb = "charge" if guard.known.asked_w > 0 else "discharge"
    reason = f"{request.source}: {request.reason}" if request.reason else request.source
    return f"Asked to {verb} {abs(guard.known.asked_w) / 1000:.1f} kW ({reason})"


def limited_sentence(guard: Guard) -> str:
    """Which limiter won, "" when the request passes whole."""
    limit = guard.permitted.limit
    if limit is None:
        raised = guard.support.raised_by
        return f"{guard.permitted.power_w / 1000:+.1f} kW asked for by {raised}" if raised else ""
    clause = f" ({limit.clause})" if limit.clause else ""
    return f"limited to {abs(guard.permitted.power_w) / 1000:.1f} kW by {limit.source}{clause}: {limit.reason}"


def snapshot(guard: Guard, now: float, boot: str, lateness: Lateness, missed: int, dropped: int) -> Snapshot:
    """Everything that guard knows, as of the last step."""
    view, grid, readings, outputs = guard.view, guard.grid, guard.readings, guard.outputs
    assert view is not None
    assert grid is not None
    assert readings is not None
    assert outputs is not None
    converter, pilot, known, session = readings.converter, readings.pilot, guard.known, guard.session
    conv_grid = converter.grid.value if converter.grid is not None and converter.grid.fresh(now, 1.0) else None
    mirrors = view.mirrors or Coils()
    measured = view.v_dc_v * view.i_dc_a if view.v_dc_v is not None and view.i_dc_a is not None else None
    limits = guard.limits
    codes = guard.faults.codes
    fault = guard.faults.sentence() if codes else ""
    limited = limited_sentence(guard)
    live = converter.limits
    i_max = min(guard.settings.current_a, live.i_max_a) if live is not None else 0.0
    power = max(view.v_dc_v or 0.0, 150.0)
    charge_w = min((magnitude(x.charge_w) for x in limits if x.source not in ("car", "fault")), default=0.0)
    discharge_w = min((magnitude(x.discharge_w) for x in limits if x.source not in ("car", "fault")), default=0.0)
    return Snapshot(
        t=now,
        boot=boot,
        tick=guard.tick,
        state=session.machine.state.value,
        state_since=session.machine.since,
        grid_state=grid.state.value,
        why=why(session, view, fault, asked_sentence(guard), limited),
        grid_reason=grid.reason,
        grid_clause=grid.clause,
        enter_service_remaining_s=grid.remaining_s,
        asked_w=known.asked_w,
        asked_by=known.request.source if known.request is not None else "",
        asked_reason=known.request.reason if known.request is not None else "",
        lease_s=max(0.0, known.lease_until_s - now) if known.request is not None else 0.0,
        permitted_w=guard.permitted.power_w,
        limited_by=limited,
        limits=[LimitInfo(x.source, x.reason, x.charge_w, x.discharge_w, x.until_s, x.clause) for x in limits],
        measured_w=measured,
        grid_v=list(guard.last_grid.v_v) if guard.last_grid is not None and pilot.online else None,
        grid_f_hz=guard.last_grid.f_hz if guard.last_grid is not None and pilot.online else None,
        converter_grid_v=list(conv_grid.v_v) if conv_grid is not None else None,
        converter_grid_f_hz=conv_grid.f_hz if conv_grid is not None else None,
        converter_online=converter.online,
        converter_ready=converter.ready,
        converter_on=bool(converter.on is not None and converter.on.value and converter.online),
        converter_direction=converter.direction.value if converter.direction is not None else "unconfirmed",
        converter_temp_c=_fresh(converter.temperature_c, now, 10.0),
        p_ac_w=_fresh(converter.p_ac_w, now, 2.0),
        v_dc_v=view.v_dc_v,
        i_dc_a=view.i_dc_a,
        i_set_a=outputs.converter.current_a,
        cp=pilot.cp.value.name if pilot.cp is not None else "UNKNOWN",
        contactor_grid=mirrors.grid,
        contactor_dc=mirrors.dc,
        contactor_precharge=mirrors.precharge,
        estop=pilot.estop,
        insulation_ohm=view.insulation_ohm,
        car_phase=view.car.phase.value if view.car is not None else "silent",
        soc_pct=view.car.soc_pct if view.car is not None else None,
        charged_wh=guard.charged_wh,
        discharged_wh=guard.discharged_wh,
        faults=codes,
        trip=_trip(grid.last_trip),
        elements=[
            ElementInfo(
                e.element, e.source.value, e.value, e.threshold, e.unit, e.margin, e.timer_s, e.delay_s, e.clause
            )
            for e in sorted(guard.protection.elements(), key=nearness)
        ],
        late_p99_us=lateness.percentile(0.99) * 1e6,
        late_max_us=lateness.max_s * 1e6,
        missed=missed,
        realtime="; ".join(readings.realtime_refused) or "SCHED_FIFO, memory locked, garbage collector frozen",
        bus_load=converter.bus_load,
        i_charge_max_a=min(i_max, charge_w / power),
        i_discharge_max_a=min(i_max, discharge_w / power),
        v_max_v=min(guard.settings.voltage_v, live.v_max_v) if live is not None else 0.0,
        ready=session.may_begin(view),
        stop=_asks_car_to_stop(guard),
        self_test_serial=session.self_test_serial,
        down=guard.down,
        dropped=dropped,
        latched=guard.faults.latched if codes else [],
        q_ac_var=_fresh(converter.q_ac_var, now, 2.0),
        tan_phi=outputs.converter.tan_phi,
        reactive_by=guard.support.reactive_by,
        ages_s=_ages(guard, converter, pilot, now),
    )


def _ages(guard: Guard, converter: ConverterStatus, pilot: PilotStatus, now: float) -> dict[str, float]:
    """Seconds since each value was measured, by names that the screen knows; a value in `Snapshot` may be old."""
    readings: dict[str, Reading[Any] | None] = {
        "converter_grid": converter.grid, "p_ac": converter.p_ac_w, "q_ac": converter.q_ac_var,
        "dc": converter.i_dc_a, "temperature": converter.temperature_c, "pilot": pilot.mirrors, "cp": pilot.cp,
    }  # fmt: skip
    times = {name: reading.t for name, reading in readings.items() if reading is not None}
    if guard.last_grid is not None:
        times["grid"] = guard.last_grid_t
    for name, report in (("insulation", guard.known.insulation), ("car", guard.known.car)):
        if report is not None:
            times[name] = report.t
    return {name: max(0.0, now - t) for name, t in times.items()}


def _asks_car_to_stop(guard: Guard) -> bool:
    """The vehicle side is told to end whenever a session runs out, but not a car that has ended it by itself and begun
    anew: it renegotiates."""
    session, car = guard.session, guard.known.car_status
    ending = session.machine.state in (S.RAMP_DOWN, S.OPENING, S.WELD_CHECK, S.FINISHED, S.FAULT)
    if ending and session.cause == "car" and session.machine.state is not S.FAULT:
        ending = car is None or car.phase not in BEGUN_ANEW
    return ending or guard.known.stopped or guard.known.shutdown
