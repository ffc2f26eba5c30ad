"""What guard and services say to each other: msgspec structs over one SOCK_SEQPACKET socket pair.

Every message is one packet of MessagePack with its type as a tag. Guard's side never blocks: what does not fit into
the socket is dropped and counted. All times are CLOCK_MONOTONIC seconds, which both processes share.
"""

from __future__ import annotations

from typing import Any

import msgspec


# ------------------------------------------------------------------------------------------------ services -> guard
class PowerRequest(msgspec.Struct, tag="power", frozen=True):
    """Somebody asks for power, for a while. + = charge, - = discharge. Guard forgets it at `until_s` (the lease).

    Services renew the lease about twice a second; guard grants at most `MAX_LEASE_S`, whatever is asked. rule: numbers
    and words of one rule may change ten times a second; only another rule is an event. Empty: every change is one.
    sleep: while no power flows the converter is to be off, with its contactors closed.
    """

    source: str
    power_w: float
    until_s: float
    reason: str = ""
    rule: str = ""
    sleep: bool = False


class CarReport(msgspec.Struct, tag="car", frozen=True):
    """The vehicle side as services know it. `t` is when the SECC's own frame arrived."""

    t: float
    phase: str  # value of hal.ports.CarPhase
    target_v: float
    i_max_a: float
    i_min_a: float
    v_max_v: float
    v_min_v: float
    soc_pct: float | None = None
    capacity_wh: float | None = None


class InsulationReport(msgspec.Struct, tag="insulation", frozen=True):
    """The insulation monitor's last answer. Reported only when the device answered with a valid measurement."""

    t: float
    r_ohm: float
    alarm: str  # value of hal.ports.InsulationAlarm


class SelfTestReport(msgspec.Struct, tag="selftest", frozen=True):
    """Result of the insulation monitor's self-test that guard asked for under `serial`."""

    serial: int
    passed: bool
    t: float


class MeterReport(msgspec.Struct, tag="meter", frozen=True):
    """Meter values for plausibility and the screen; None where the meter did not answer. Signs: + = charge."""

    t: float
    dc_v: float | None = None
    dc_i: float | None = None
    dc_p_w: float | None = None
    ac_p_w: float | None = None
    ac_f_hz: float | None = None


class Operator(msgspec.Struct, tag="operator", frozen=True):
    """`stop`: end the session. `clear`: acknowledge a latched fault. `start`: allow sessions again after a stop.
    `shutdown`: ramp to zero, open, then say so in the snapshot (`down`). `can_log`: `on` or `off` as the source.
    `latch`: a fault (its code as the source) was latched before guard was started again and nobody has cleared it.
    `record`: make a disturbance record of the last seconds."""

    action: str
    source: str = "operator"


class GridControls(msgspec.Struct, tag="controls", frozen=True):
    """The controls of grid support and trips that are active now, all of them; an empty list is the profile alone.

    controls: as firmware/grid_support/controls.py writes them. Guard checks them again and keeps what is in force when
    it refuses.
    """

    hash: str  # SHA-256 over them
    controls: list[dict[str, Any]]


# ------------------------------------------------------------------------------------------------ guard -> services
class EventMessage(msgspec.Struct, tag="event", frozen=True):
    """Something happened. Severity, sentence and remedy are in the table of firmware/guard/events.py under `code`."""

    t: float
    code: str
    detail: str = ""
    cleared: bool = False  # True: the condition is over


class Snapshot(msgspec.Struct, tag="snapshot", frozen=True):
    """All that guard knows, ten times a second and on every change of state. Units are in the names."""

    t: float
    boot: str  # identity of this guard process: energy counters start at zero with it
    tick: int
    state: str
    state_since: float
    grid_state: str
    why: str
    grid_reason: str
    grid_clause: str
    enter_service_remaining_s: float
    asked_w: float
    asked_by: str
    asked_reason: str
    lease_s: float
    permitted_w: float
    limited_by: str
    limits: list[LimitInfo]
    measured_w: float | None
    grid_v: list[float] | None
    grid_f_hz: float | None
    converter_grid_v: list[float] | None
    converter_grid_f_hz: float | None
    converter_online: bool
    converter_ready: bool
    converter_on: bool
    converter_direction: str
    converter_temp_c: float | None
    p_ac_w: float | None
    v_dc_v: float | None
    i_dc_a: float | None
    i_set_a: float
    cp: str
    contactor_grid: bool
    contactor_dc: bool
    contactor_precharge: bool
    estop: bool
    insulation_ohm: float | None
    car_phase: str
    soc_pct: float | None
    charged_wh: float  # since guard's boot, DC side
    discharged_wh: float
    faults: list[str]
    trip: TripInfo | None
    elements: list[ElementInfo]  # of protection, the closest to operating first
    late_p99_us: float
    late_max_us: float
    missed: int
    realtime: str
    bus_load: float
    i_charge_max_a: float
    i_discharge_max_a: float
    v_max_v: float
    ready: bool
    stop: bool
    self_test_serial: int  # services run the IMD's self-test when this number rises
    down: bool  # shut down as asked: no power, contactors open
    dropped: int
    latched: list[str] = []  # those of `faults` that stay until an operator clears them
    q_ac_var: float | None = None  # measured by the converter, + = absorbed
    tan_phi: float = 0.0  # reactive power commanded, share of the active power, + = absorbing
    reactive_by: str = ""  # the support function that plans reactive power, with its clause
    ages_s: dict[str, float] = {}  # how old the values are, by their source; what never came is not there


class LimitInfo(msgspec.Struct, frozen=True):
    """One limiter of the set-point stack (W; magnitudes)."""

    source: str
    reason: str
    charge_w: float
    discharge_w: float
    until_s: float | None
    clause: str = ""


class TripInfo(msgspec.Struct, frozen=True):
    element: str
    source: str
    phase: str
    value: float
    threshold: float
    unit: str
    delay_s: float
    t_start: float
    t: float
    clause: str
    text: str


class ElementInfo(msgspec.Struct, frozen=True):
    element: str
    source: str
    value: float
    threshold: float
    unit: str
    margin: float
    timer_s: float
    delay_s: float
    clause: str


class TripRecord(msgspec.Struct, tag="record", frozen=True):
    """The ring buffer around a disturbance, one row a tick: pre- and post-trigger (firmware/guard/blackbox.py)."""

    t: float  # of the event that triggered: the time of a row
    code: str
    detail: str
    columns: list[str]
    rows: list[list[float]]
    digital: list[str] = []  # those of `columns` that are yes (1) or no (0)
    codes: dict[str, list[str]] = {}  # columns whose numbers count in a list of words


class CanLog(msgspec.Struct, tag="canlog", frozen=True):
    """Frames of one tick, both directions: (t, channel, id, data, sent)."""

    frames: list[tuple[float, str, int, bytes, bool]]


ToGuard = PowerRequest | CarReport | InsulationReport | SelfTestReport | MeterReport | Operator | GridControls
FromGuard = EventMessage | Snapshot | TripRecord | CanLog
MAX_LEASE_S = 5.0
