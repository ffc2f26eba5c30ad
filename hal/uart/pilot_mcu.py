"""Driver of the pilot and contactor MCU (docs/drivers/pilot_mcu.md). Sans I/O: bytes and time in, bytes out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from hal.ports import COILS_OPEN, Coils, CpState, GridTelemetry, PilotCommand, PilotStatus, Quality, Reading
from hal.uart.pilot_frames import (
    NO_SENSOR_C,
    RESET_MAGIC,
    TEMPERATURE_C,
    Counted,
    FrameReader,
    Id,
    decode,
    decode_grid_sense,
    encode,
)

MAX_SAMPLES = 64  # grid samples kept between two polls: 0.32 s, longer than the MCU lets the host be silent
# A measurement of a live grid moves by its own noise; one that repeats to the last bit (0.05 V, 5 mHz) so many times
# is stuck. Own choice, one second: with a twentieth of the samples equal to the one before it never happens.
STUCK_SAMPLES = 200
MIN_CONTROL_PERIOD_S = 0.005  # an unchanged command goes out no more often; 200 frames/s are 21 % of the line
GRID_PERIOD_S = 0.005  # the MCU measures the grid this often (docs/drivers/pilot_mcu.md)
RESET_PERIOD_S = 0.1
INQUIRY_PERIOD_S = 1.0
RESYNC_RUN = 4  # so many "old" samples that count up one by one mean that the MCU began to count anew
MIRRORED = ("grid", "dc", "precharge")
HYSTERESIS_C = 5.0  # an over-temperature is over when it is this far below the limit
REFUSING_CP = (CpState.A, CpState.E, CpState.F, CpState.UNKNOWN, CpState.INVALID)

_GRID_SENSE, _STATE = int(Id.GRID_SENSE), int(Id.STATE)


class _State:
    """What a state frame says but for its counter, in the port's words. It is the same in most of them."""

    __slots__ = ("com_timeout", "cp", "diode_fault", "estop", "faults", "mirrors", "reported")

    def __init__(self, f: Mapping[str, float]) -> None:
        """f: the frame's fields; none before the first frame."""
        self.cp = CpState(int(f.get("Sta_CpState", 0)))
        self.mirrors = Coils(
            # 3 (no mirror contact configured) is not "closed": it shows up as a fault once the coil is closed.
            grid=f.get("Sta_Contactor2") == 1,
            dc=f.get("Sta_Contactor1") == 1,
            precharge=bool(f.get("Sta_Precharge")),
            converter_enable=bool(f.get("Sta_ConverterEnable")),
        )
        self.estop = any(f.get(name) == 1 for name in ("Sta_Estop1", "Sta_Estop2", "Sta_Estop3"))
        self.com_timeout = bool(f.get("Sta_ComTimeout"))
        self.diode_fault = bool(f.get("Sta_DiodeFault"))
        told = (("pilot_diode_fault", self.diode_fault), ("pilot_short", bool(f.get("Sta_CpShort"))))
        self.faults = tuple(code for code, present in told if present)
        errors = {"grid": "Sta_Contactor2Error", "dc": "Sta_Contactor1Error", "precharge": "Sta_PrechargeError"}
        self.reported = tuple(name for name in MIRRORED if f.get(errors[name]))  # faults of contactors, by the MCU


class PilotMcu:
    """ports.PilotBoard for the MCU described in docs/drivers/pilot_mcu.md.

    temperature_limit_c: connector temperature above which `pilot_temperature` is reported (90 degC is our value: the
    connector's own data sheet decides).
    mirror_fault_s: how long coil and mirror contact may disagree; longer than coil delay and one state period together.
    offline_after_s: no state frame for so long (five periods of 20 ms) means that the MCU is gone.
    temperature_age_s: no temperature frame for so long, while state frames arrive, counts as an over-temperature.
    """

    def __init__(
        self,
        temperature_limit_c: float = 90.0,
        host_timeout_s: float = 0.3,
        offline_after_s: float = 0.1,
        mirror_fault_s: float = 0.2,
        temperature_age_s: float = 2.0,
    ) -> None:
        if not TEMPERATURE_C[0] < temperature_limit_c < TEMPERATURE_C[1]:
            raise ValueError(
                f"temperature_limit_c is {temperature_limit_c}, "
                f"must lie between {TEMPERATURE_C[0]} and {TEMPERATURE_C[1]}"
            )
        for name, value in (
            ("host_timeout_s", host_timeout_s),
            ("offline_after_s", offline_after_s),
            ("mirror_fault_s", mirror_fault_s),
            ("temperature_age_s", temperature_age_s),
        ):
            if not value > 0:
                raise ValueError(f"{name} is {value}, must be above 0")
        self.host_timeout_s = host_timeout_s
        self.offline_after_s = offline_after_s
        self.error: tuple[int, int, int, int] | None = None  # last active error frame: module, reason, data 1, data 2
        self._limit_c = temperature_limit_c
        self._mirror_fault_s = mirror_fault_s
        self._temperature_age_s = temperature_age_s
        self._reader = FrameReader()
        self._bad = 0  # well framed, but with an unknown identifier or a value out of range
        # from the MCU
        self._state = _State({})
        self._state_said = b""  # the payload that it is of, without the counter at its end
        self._state_t = -math.inf
        self._online_since = math.inf
        self._mirrors: Reading[Coils] | None = None
        self._cp: Reading[CpState] | None = None
        self._temperatures: Reading[tuple[float, ...]] | None = None
        self._sensor_failed = False
        self._stopped = False  # the MCU opened the vehicle side because of a temperature
        self._hot = False
        self._version = ""
        # grid sense
        self._samples: deque[Reading[GridTelemetry]] = deque()
        self._sequence: int | None = None
        self._refused: int | None = None  # last sequence number that was not new
        self._refused_run = 0
        self._lost = 0
        self._grid_t = -math.inf  # time of the newest sample
        self._value: GridTelemetry | None = None  # of the newest sample
        self._repeated = 0  # so many samples before it had the same value
        self._arrived: list[tuple[int, GridTelemetry]] = []  # in this call of receive: steps since the one before it
        # to the MCU
        self._sent: PilotCommand | None = None
        self._control_frame: Counted | None = None  # of `_sent`
        self._sent_t = -math.inf
        self._host_sequence = 0
        self._reset_t = -math.inf
        self._inquiry_t = -math.inf
        self._disagree_since: dict[str, float] = {}

    # ------------------------------------------------------------------------------------------------------- receive
    def receive(self, now: float, data: bytes) -> None:
        for ident, payload in self._reader.feed(data):
            if ident == _GRID_SENSE:
                self._take_grid(payload)
                continue
            if ident == _STATE and payload[:-1] == self._state_said:
                self._hear_state(now)
                continue
            fields = decode(ident, payload)
            if fields is None or not self._take(now, ident, fields):
                self._bad += 1
            elif ident == _STATE:
                self._state_said = payload[:-1]
        if self._arrived:
            self._stamp(now)

    def _take(self, now: float, ident: int, f: Mapping[str, float]) -> bool:
        if ident == _STATE:
            self._state = _State(f)
            self._hear_state(now)
        elif ident == Id.TEMPERATURES:
            return self._take_temperatures(now, f)
        elif ident == Id.VERSION:
            self._version = f"{f['Ver_Major']:.0f}.{f['Ver_Minor']:.0f}.{f['Ver_Build']:.0f}"
        elif ident == Id.ERROR:
            error = (int(f["Err_Module"]), int(f["Err_Reason"]), int(f["Err_Data1"]), int(f["Err_Data2"]))
            self.error = error if f["Err_Active"] else None
        else:
            return False  # a frame that only the host sends
        return True

    def _hear_state(self, now: float) -> None:
        """A state frame that says `_state`."""
        if now - self._state_t > self.offline_after_s:
            # It was gone: it may be another one, or a new firmware.
            self._online_since = now
            self._version = ""
            self._inquiry_t = -math.inf
        self._state_t = now
        self._cp = Reading(self._state.cp, now)
        self._mirrors = Reading(self._state.mirrors, now)

    def _take_temperatures(self, now: float, f: Mapping[str, float]) -> bool:
        values: list[float] = []
        failed = stopped = False
        for name in ("Tmp_1", "Tmp_2", "Tmp_3", "Tmp_4"):
            value, self_test = f[name], bool(f[name + "SelftestFailed"])
            stopped |= bool(f[name + "Stopped"])
            failed |= self_test
            if round(value, 1) == NO_SENSOR_C and not self_test:
                continue
            if not self_test and value > TEMPERATURE_C[1]:
                return False
            values.append(math.nan if self_test else value)
        self._sensor_failed = failed
        self._temperatures = Reading(tuple(values), now, Quality.SUSPECT if failed else Quality.GOOD)
        hottest = max((v for v in values if not math.isnan(v)), default=-math.inf)
        self._stopped = stopped
        self._hot = stopped or hottest > self._limit_c - (HYSTERESIS_C if self._hot else 0.0)
        return True

    def _take_grid(self, payload: bytes) -> None:
        v_v, f_hz, sequence = decode_grid_sense(payload)
        step = 1
        if self._sequence is not None:
            step = (sequence - self._sequence) & 0xFF
            if step == 0 or step >= 0x80:
                in_row = self._refused is not None and sequence == (self._refused + 1) & 0xFF
                self._refused_run = self._refused_run + 1 if in_row else 1
                self._refused = sequence
                if step == 0 or self._refused_run < RESYNC_RUN:
                    return
                step = 1  # it counts anew; how many are missing cannot be known
            self._lost += step - 1
        self._sequence = sequence
        self._refused, self._refused_run = None, 0
        self._arrived.append((step, tuple.__new__(GridTelemetry, (v_v, f_hz))))

    def _stamp(self, now: float) -> None:
        """Give the samples of one call their own times: the newest `now`, the others as their numbers lie before it.

        They arrive together because a tick is longer than the MCU's period, and were not measured together: under one
        time protection would take the first of them and refuse the rest.
        """
        arrived, self._arrived = self._arrived, []
        steps = 0
        for step, _ in arrived:
            steps += step
        # Never before what has been given out already, however irregularly the bytes came.
        period_s = min(GRID_PERIOD_S, max(0.0, now - self._grid_t) / steps)
        since = 0
        for step, value in arrived:
            since += step
            if len(self._samples) == MAX_SAMPLES:
                self._samples.popleft()
                self._lost += 1
            t = now - (steps - since) * period_s
            # Without a frequency there is no grid, and nothing that would have to move.
            same = value == self._value and not math.isnan(value.f_hz)
            self._value = value
            self._repeated = self._repeated + 1 if same else 0
            if self._repeated < STUCK_SAMPLES:
                self._samples.append(Reading(value, t))
        self._grid_t = now

    # ---------------------------------------------------------------------------------------------------------- poll
    def poll(self, now: float) -> PilotStatus:
        grid = tuple(self._samples)
        self._samples.clear()
        online = now - self._state_t <= self.offline_after_s
        faults = self._state.faults
        since = self._temperatures.t if self._temperatures else -math.inf
        blind = online and now - max(since, self._online_since) > self._temperature_age_s
        if self._hot or self._sensor_failed or blind:
            faults += ("pilot_temperature",)
        if online and self._repeated >= STUCK_SAMPLES:
            faults += ("pilot_grid_stuck",)
        return PilotStatus(  # by position: a third less time
            online,
            self._cp,
            self._mirrors,
            self._mirror_faults(now, online),
            self._state.estop,
            self._state.com_timeout,
            grid,
            self._lost,
            self._temperatures,
            faults,
            self._version,
            self._reader.bad + self._bad,
        )

    def _mirror_faults(self, now: float, online: bool) -> tuple[str, ...]:
        """Faults that the MCU reports, and those that the driver sees itself: the MCU may be the broken part."""
        state, reported, sent = self._state, self._state.reported, self._sent
        if not online or self._mirrors is None or sent is None or self._cp is None:
            self._disagree_since.clear()
            return reported
        coils, mirrors = sent.coils, state.mirrors
        if coils.grid == mirrors.grid and coils.dc == mirrors.dc and coils.precharge == mirrors.precharge:
            self._disagree_since.clear()
            return reported
        # An open contactor that the MCU holds open on purpose is no fault; a closed one with its coil off always is.
        refusing = state.estop or state.com_timeout
        car_refused = state.cp in REFUSING_CP or state.diode_fault or self._stopped
        faults = []
        for name in MIRRORED:
            coil, mirror = getattr(coils, name), getattr(mirrors, name)
            if coil == mirror or (coil and (refusing or (name != "grid" and car_refused))):
                self._disagree_since.pop(name, None)
                own = False
            else:
                own = now - self._disagree_since.setdefault(name, now) > self._mirror_fault_s
            if own or name in reported:
                faults.append(name)
        return tuple(faults)

    # ------------------------------------------------------------------------------------------------------- command
    def command(self, now: float, command: PilotCommand) -> bytes:
        """The bytes of this tick: the control frame, then a reset or an inquiry when one is due.

        A duty outside 0..100 % is not sent: the PWM goes off, as without a duty.
        """
        out = b""
        other = command != self._sent
        if other or self._control_frame is None:
            self._control_frame = _control(command)
        if other or now - self._sent_t >= MIN_CONTROL_PERIOD_S:
            self._host_sequence = (self._host_sequence + 1) & 0xFF
            out = self._control_frame.frame(self._host_sequence)
            self._sent, self._sent_t = command, now
        if command.reset and command.coils == COILS_OPEN and now - self._reset_t >= RESET_PERIOD_S:
            self._reset_t = now
            out += encode(Id.RESET, {"Rst_Magic": RESET_MAGIC, "Rst_Complement": RESET_MAGIC ^ 0xFFFFFFFF})
        if not self._version and now - self._inquiry_t >= INQUIRY_PERIOD_S:
            self._inquiry_t = now
            out += encode(Id.INQUIRY, {"Inq_PacketId": Id.VERSION})
        return out


def _control(command: PilotCommand) -> Counted:
    duty = command.duty_pct
    active = duty is not None and 0.0 <= duty <= 100.0
    return Counted(
        Id.CONTROL,
        {
            "Ctl_PwmActive": active,
            "Ctl_TargetDuty": duty if duty is not None and active else 0.0,
            "Ctl_Contactor1": command.coils.dc,
            "Ctl_Contactor2": command.coils.grid,
            "Ctl_Precharge": command.coils.precharge,
            "Ctl_ConverterEnable": command.coils.converter_enable,
            "Ctl_Sequence": 0,
        },
    )
