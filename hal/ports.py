"""What a charger board can be made of: small ports with numbered obligations.

A driver is *sans I/O* wherever guard owns it: it is fed the bytes that arrived and the time, and it returns the bytes
that shall leave. It opens nothing, reads no clock, never sleeps and never blocks. So the same driver serves the
real-time loop, the simulated rig and a test. Drivers owned by services (meters, insulation monitor) are asyncio.

Sign convention everywhere in this project: + charges the car, - discharges it. SI base units.

Values are structs of msgspec, frozen as frozen dataclasses are: some ten of them are made in every tick, each in a
tenth of the time. None of them can hold itself, so the garbage collector need not look at them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Quality(enum.IntEnum):
    """How far a reading may be believed."""

    GOOD = 0
    SUSPECT = 1  # the device itself doubts it (self-test, out of its accuracy range)
    BAD = 2  # must not be used


class Reading(Struct, Generic[T], frozen=True, gc=False):
    """A value, the monotonic time it was measured at (seconds) and its quality. Never separated from one another."""

    value: T
    t: float
    quality: Quality = Quality.GOOD

    def fresh(self, now: float, max_age_s: float) -> bool:
        """True when the value is good and no older than `max_age_s`. A stale reading is not a zero reading."""
        return self.quality is Quality.GOOD and now - self.t <= max_age_s


class CanFrame(NamedTuple):
    """One classic CAN frame. `t` is the monotonic receive time in seconds (0.0 on frames to send)."""

    id: int
    data: bytes
    t: float = 0.0
    extended: bool = True
    error: bool = False  # an error frame reported by the controller


class GridTelemetry(NamedTuple):
    """A device's view of the grid: phase-to-neutral RMS voltages (V) and frequency (Hz; nan = not measurable)."""

    v_v: tuple[float, float, float]
    f_hz: float


# --------------------------------------------------------------------------------------------------------- converter
class Direction(enum.Enum):
    CHARGE = "charge"  # AC -> DC, rectifier
    DISCHARGE = "discharge"  # DC -> AC, grid-tied inverter


class ConverterLimits(Struct, frozen=True, gc=False):
    """Live limits as the module reports them, never from a data sheet."""

    v_min_v: float
    v_max_v: float
    i_max_a: float  # magnitude, both directions
    p_rated_w: float
    tan_phi_max: float = 0.0  # largest |tan_phi| that it takes; 0 = it has no reactive power on command


class ConverterCommand(Struct, frozen=True, gc=False):
    """What the gate lets out to the converter. The default is: off.

    current_a is a magnitude (>= 0); voltage_v is the DC voltage limit while charging, cutoff_v the DC voltage below
    which a discharge must stop, ovp_v the DC over-voltage point (both directions). tan_phi: reactive power at the grid
    terminals as a share of the active power's magnitude, + = absorbed (inductive), - = given (capacitive), in both
    directions of the active power.
    """

    on: bool = False
    direction: Direction = Direction.CHARGE
    voltage_v: float = 0.0
    current_a: float = 0.0
    cutoff_v: float = 0.0
    ovp_v: float = 0.0
    tan_phi: float = 0.0


CONVERTER_OFF = ConverterCommand()


class ConverterStatus(Struct, frozen=True, gc=False):
    """What is known of the converter now. Every measured value carries its own time."""

    online: bool = False  # answers arrive
    ready: bool = False  # online, limits read, no fault: may be switched on
    limits: ConverterLimits | None = None
    direction: Direction | None = None  # confirmed by echo AND read-back; None = unconfirmed
    on: Reading[bool] | None = None  # DC side running, from the module's own status
    v_dc_v: Reading[float] | None = None
    i_dc_a: Reading[float] | None = None  # signed: + into the car
    p_ac_w: Reading[float] | None = None  # signed: + drawn from the grid
    q_ac_var: Reading[float] | None = None  # signed: + absorbed from the grid
    tan_phi: Reading[float] | None = None  # what it has confirmed to hold, and when
    grid: Reading[GridTelemetry] | None = None
    temperature_c: Reading[float] | None = None
    faults: tuple[str, ...] = ()  # codes of firmware/guard/events.py: converter_* ; stop the session
    warnings: tuple[str, ...] = ()  # codes of firmware/guard/events.py: converter_* ; told, power goes on
    bus_load: float = 0.0  # share of the bus (0..1) that the poll plan and its replies take
    resets: int = 0  # module resets seen since start


class Converter(Protocol):
    """A bidirectional AC/DC converter on CAN. Sans I/O.

    Obligations of every driver:
    1. `poll` and `command` never block, raise or allocate without bound, whatever bytes arrived.
    2. A frame with a wrong length, selector, range, source or checksum changes nothing.
    3. `status.direction` is None until the module has confirmed the mode by echo AND by read-back; until then no
       frame with a non-zero current leaves, whatever `command` asks.
    4. A direction change is sent only while the measured |I| is fresh and below `zero_current_a`.
    5. The first `command` with on=False after on=True emits the off frame in the same call, before any other frame,
       and repeats it at least every 0.1 s until the module confirms that it is off.
    6. Off invalidates every cached set-point: after it all of them are written again before the next on.
    7. Limits are read from the module before `ready`; they are read again after a module reset.
    8. Values carry the time of their own frame. Nothing is invented when telemetry stops: readings just grow old.
    9. `command` is called every guard tick and is the only place where frames to the module come from.
    10. A module that stays silent for `offline_after_s` is not online, and comes back only through a full read-out.
    11. tan_phi is a set-point as the others: bounded by `tan_phi_max`, confirmed, forgotten by off. One that changes is
        on its way within 0.05 s, and a module that refuses it still carries active power (`tan_phi_max` is 0 then).
    """

    silence_off_s: float  # the module's own time-out: power off after this long without a message
    zero_current_a: float
    offline_after_s: float

    def receive(self, now: float, frame: CanFrame) -> None:
        """Take one frame from the bus. Frames of others are ignored."""

    def poll(self, now: float) -> ConverterStatus:
        """The status as of `now`. Called once a tick, after all frames were received."""

    def command(self, now: float, command: ConverterCommand) -> Sequence[CanFrame]:
        """The frames to send in this tick, most urgent first: set-points, then the polls that are due."""


# ------------------------------------------------------------------------------------------------- pilot and contactors
class CpState(enum.Enum):
    """Control pilot state, IEC 61851-1."""

    UNKNOWN = 0
    A = 1
    B = 2
    C = 3
    D = 4
    E = 5
    F = 6
    INVALID = 7


class Coils(Struct, frozen=True, gc=False):
    """Coils and enables held by the pilot MCU. The default is: everything open."""

    grid: bool = False  # AC contactor between the PCC and the converter
    dc: bool = False  # DC contactor pair towards the car
    precharge: bool = False  # precharge relay and resistor across the DC contactor
    converter_enable: bool = False  # hardware enable line of the converter


COILS_OPEN = Coils()


class PilotCommand(Struct, frozen=True, gc=False):
    """duty_pct: pilot PWM duty (5 % = high-level communication), None = PWM off (constant +12 V or F by the MCU)."""

    duty_pct: float | None = None
    coils: Coils = COILS_OPEN
    reset: bool = False  # ask the MCU to leave its safe state; honoured only with all coils open


class PilotStatus(Struct, frozen=True, gc=False):
    online: bool = False  # state frames arrive
    cp: Reading[CpState] | None = None
    mirrors: Reading[Coils] | None = None  # what the mirror contacts say (converter_enable: read back of the line)
    mirror_faults: tuple[str, ...] = ()  # names among "grid", "dc", "precharge": coil and mirror disagree too long
    estop: bool = False
    com_timeout: bool = False  # the MCU has gone to its safe state because the host was silent
    grid: tuple[Reading[GridTelemetry], ...] = ()  # every sample since the previous poll, oldest first
    grid_lost: int = 0  # samples missing in the sequence counter since start
    temperatures_c: Reading[tuple[float, ...]] | None = None
    faults: tuple[str, ...] = ()  # codes of firmware/guard/events.py: pilot_*
    version: str = ""
    bad_frames: int = 0  # wrong CRC, length, end byte or range since start


class PilotBoard(Protocol):
    """Pilot, contactor and grid-sense MCU on a serial line. Sans I/O.

    Obligations of every driver:
    1. Never blocks, raises or buffers without bound, whatever bytes arrived; resynchronises after garbage.
    2. A frame with a wrong CRC, end byte, length or an out-of-range value changes nothing and is counted.
    3. A repeated or reordered sequence counter of grid sense is not a new sample.
    4. `command` is called every guard tick and is the only source of bytes; an opening coil goes out in that call.
    5. `poll` returns each grid sample exactly once, with its own time.
    6. The MCU's safe state is reported, never cleared silently: only an explicit `reset` asks for it.
    """

    host_timeout_s: float  # the MCU opens everything when the host is silent this long

    def receive(self, now: float, data: bytes) -> None: ...

    def poll(self, now: float) -> PilotStatus: ...

    def command(self, now: float, command: PilotCommand) -> bytes: ...


# ---------------------------------------------------------------------------------------- meters and insulation monitor
class AcMeterValues(Struct, frozen=True, gc=False):
    """v_v, i_a per phase; p_w + = drawn from the grid. Registers are the meter's own, monotonic, never netted."""

    v_v: tuple[float, float, float]
    i_a: tuple[float, float, float]
    p_w: float
    q_var: float
    f_hz: float
    import_wh: float
    export_wh: float


class DcMeterValues(Struct, frozen=True, gc=False):
    """i_a, p_w + = into the car. charge_wh and discharge_wh are the meter's own registers, monotonic."""

    v_v: float
    i_a: float
    p_w: float
    charge_wh: float
    discharge_wh: float


class InsulationAlarm(enum.Enum):
    NONE = "none"
    WARNING = "warning"
    ALARM = "alarm"
    DEVICE_FAULT = "device_fault"


class InsulationValues(Struct, frozen=True, gc=False):
    r_ohm: float  # insulation resistance to PE; a value "above range" is reported as that range's end
    u_v: float  # voltage between DC+ and DC-
    alarm: InsulationAlarm
    self_test_running: bool


class AcMeter(Protocol):
    """Obligations: 1. `read` answers within its time-out or raises HalError. 2. Values belong to one transaction.
    3. Units and signs are translated here. 4. Nothing is cached: no answer means no reading."""

    async def read(self) -> Reading[AcMeterValues]: ...


class DcMeter(Protocol):
    """Obligations: as AcMeter."""

    async def read(self) -> Reading[DcMeterValues]: ...


class InsulationMonitor(Protocol):
    """Obligations: as AcMeter, and 5. an invalid measurement has Quality.BAD, never a number to be believed.
    6. `self_test` returns True only when the device reported a passed test; it takes at most `self_test_max_s`."""

    self_test_max_s: float

    async def read(self) -> Reading[InsulationValues]: ...

    async def self_test(self) -> bool: ...


class HalError(Exception):
    """A device did not answer, or answered nonsense. The text says which device, where, and what to check."""


# ------------------------------------------------------------------------------------------------------------- the car
class CarPhase(enum.Enum):
    """What the vehicle side (the SECC) wants from the power side."""

    NONE = "none"  # no session
    WAIT = "wait"  # session, nothing asked yet
    INSULATION = "insulation"
    PRECHARGE = "precharge"
    TRANSFER = "transfer"
    ENDING = "ending"  # stop asked by the car or by us: ramp down, open
    WELDING = "welding"
    PAUSE = "pause"


class CarStatus(Struct, frozen=True, gc=False):
    """The vehicle's wishes and limits. The range [i_min_a, i_max_a] is signed: a negative i_min_a permits discharge."""

    phase: CarPhase = CarPhase.NONE
    target_v: float = 0.0
    i_max_a: float = 0.0
    i_min_a: float = 0.0
    v_max_v: float = 0.0  # the car's own maximum voltage
    v_min_v: float = 0.0  # discharge floor
    soc_pct: float | None = None
    capacity_wh: float | None = None


class ChargerReport(Struct, frozen=True, gc=False):
    """What the vehicle side is told about the power side."""

    v_v: float
    i_a: float  # signed
    i_charge_max_a: float
    i_discharge_max_a: float  # magnitude
    v_max_v: float
    insulation_ohm: float | None
    ready: bool  # power may flow
    stop: bool  # the charger asks the car to end the session


class VehicleLink(Protocol):
    """An external SECC on CAN. Sans I/O. Obligations: 1. as Converter 1, 2, 8. 2. A silent SECC makes `poll` return
    None after `offline_after_s`. 3. A missing limit is reported as 0, never as unlimited."""

    offline_after_s: float

    def receive(self, now: float, frame: CanFrame) -> None: ...

    def poll(self, now: float) -> Reading[CarStatus] | None: ...

    def report(self, now: float, report: ChargerReport) -> Sequence[CanFrame]: ...
