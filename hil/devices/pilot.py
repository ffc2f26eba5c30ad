"""The emulated pilot and contactor MCU: its own safety logic, on the real serial line's bytes and timing.

It decides by itself, as the real one does: whatever the host asks, the coils open when the host is silent, when the
emergency stop is pressed, and when the control pilot says that no car may be energised. What it reports as contactor
state are the mirror contacts, so the plant's link.k_*, never its own coils.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from hal.ports import COILS_OPEN, Coils, CpState, HalError
from hal.uart.pilot_frames import (
    BAUD,
    BITS_PER_BYTE,
    FRAME_BYTES,
    NO_SENSOR_C,
    TEMPERATURE_C,
    FrameReader,
    Id,
    decode,
    encode,
    encode_grid_sense,
    frame,
)
from hal.uart.serial_port import open_serial
from hil.devices.commands import ACTION, FLAG, Rule, checked, is_number, whole
from hil.devices.modbus_server import open_line
from hil.devices.noise import two
from hil.devices.process import SharedLink, arguments, run
from hil.plant.link import INDEX, PlantLink
from hil.plant.watch import Watch

BYTE_S = BITS_PER_BYTE / BAUD
STATE_PERIOD_S = 0.020
GRID_PERIOD_S = 0.005
TEMPERATURE_PERIOD_S = 0.100
ERROR_PERIOD_S = 1.0
BOOT_S = 0.3
MAX_QUEUE = 64  # frames; the line carries 27 % of what it could, so this fills only in a fault
MAX_INPUT = 4096  # bytes under way from the host: a serial driver's buffer
VOLTAGE_NOISE_V = 0.05  # standard deviation of a half-cycle RMS value (a 12-bit converter on a 400 V range)
FREQUENCY_NOISE_HZ = 0.002
MIN_FREQUENCY_V = 10.0  # below this in every phase there are no zero crossings to time
MAX_FREQUENCY_HZ = 81.9  # end of the field
HEATING_C_PER_A2 = 0.004  # 73 A heat the contacts by 21 K in the end
HEATING_S = 300.0
STOP_C = 100.0  # the MCU's own limit, above the host's 90 degC: the last line
STOP_HYSTERESIS_C = 10.0
CP_OF_CAR = {1: CpState.A, 2: CpState.B, 3: CpState.C, 4: CpState.D}
ENERGISABLE = (CpState.B, CpState.C, CpState.D)  # B too: the supervisor, not the MCU, times B -> open
NO_PWM, CP_NEGATIVE = 100.0, 0.0  # what link.cp_duty_pct shows for constant +12 V and constant -12 V
# Everything but time, the line and its own faults that a step depends on.
WATCHED = ("ev_plugged", "ev_cp_state", "estop", "k_grid", "k_dc", "k_precharge", "converter_enable")
_PLUGGED, _CP_STATE, _ESTOP, _K_GRID, _K_DC, _K_PRECHARGE, _ENABLE = (INDEX[name] for name in WATCHED)
_COMMAND_BYTES = 9  # of a control frame: all but the sequence number, check sum and end
_SLACK_S = 1e-9  # by which a moment that is due is met early: sums of steps are not exact
_PCC_A, _PCC_B, _PCC_C, _PCC_F = (INDEX[name] for name in ("pcc_va_v", "pcc_vb_v", "pcc_vc_v", "pcc_f_hz"))
_STATE_FIELDS = (
    "Sta_PwmActive", "Sta_Duty", "Sta_CpState", "Sta_CpShort", "Sta_DiodeFault", "Sta_PpState", "Sta_Contactor1",
    "Sta_Contactor1Error", "Sta_Contactor2", "Sta_Contactor2Error", "Sta_HvReady", "Sta_Estop1", "Sta_Estop2",
    "Sta_Estop3", "Sta_Precharge", "Sta_PrechargeError", "Sta_ConverterEnable", "Sta_ComTimeout",
)  # fmt: skip
E_HOST, E_INQUIRY = (1, 1), (2, 1)  # (module, reason) of error frames, docs/drivers/pilot_mcu.md


class EmulatedPilot:
    """Feed it with `receive`, fetch what the line carries with `step`; call `step` at least every 5 ms.

    A step in which nothing is due and nothing that it sees has changed only moves the line's bytes.

    host_timeout_s: silence of the host after which everything opens. mirror_fault_s: how long coil and mirror contact
    may disagree before the error bit is set.

    Faults (attributes): `mute` (sends nothing), `deaf` (hears nothing), `corrupt_next` and `swap_next` (number of
    frames to damage), `garbage_next` (bytes of noise to put on the line), `freeze_grid` (old values, running counter),
    `stop_sequence` (counter of grid sense stands), `diode_fault`, `cp_short`, `temperatures_c` (fixed value per input,
    None = computed), `self_test_failed` (input numbers 1..4), `version`; and the method `reboot`.
    """

    def __init__(
        self, link: PlantLink, rng: random.Random, host_timeout_s: float = 0.3, mirror_fault_s: float = 0.15
    ) -> None:
        self.mute = self.deaf = self.freeze_grid = self.stop_sequence = False
        self.diode_fault = self.cp_short = False
        self.corrupt_next = self.swap_next = self.garbage_next = 0
        self.temperatures_c: list[float | None] = [None] * 4
        self.self_test_failed: set[int] = set()
        self.version = (1, 4, 0)
        self.overruns = 0  # frames that the send queue had no room for
        self.com_timeout = False
        self._link, self._rng = link, rng
        self._host_timeout_s, self._mirror_fault_s = host_timeout_s, mirror_fault_s
        self._now = 0.0
        self.watch = Watch(WATCHED)
        self.due = -math.inf  # nothing happens before, but for bytes on the line, while its watch holds
        self._full_due = -math.inf  # nor, but for samples, before
        self._bent: tuple[bool, ...] = ()  # the faults that the last whole step saw
        self._start(-math.inf)

    def _start(self, boot_until: float) -> None:
        """Power-up state: no host yet, everything open."""
        self._boot_until = boot_until
        self._running = False  # a host has spoken: from now on its silence counts
        self._host_t = 0.0
        self._host_sequence = -1
        self._asked = COILS_OPEN
        self._duty_pct: float | None = None
        self._inhibit = self._car_inhibit = False  # waiting for the host to ask for open
        self.com_timeout = False
        self._overheated = False
        self._coils = COILS_OPEN
        self._disagree_since: dict[str, float] = {}
        self._reader = FrameReader()
        self._rx: deque[tuple[float, bytes]] = deque()
        self._rx_free = 0.0
        self._command = b""  # the last one that was heard and obeyed
        self._repeats = True  # nothing but that one again is under way from the host
        self._tx: deque[tuple[float, bytes]] = deque()
        self._tx_free = 0.0
        self._grid_sequence = 0
        self._grid: tuple[tuple[float, float, float], float] = ((0.0, 0.0, 0.0), math.nan)
        self._next_grid = self._next_state = self._next_temperature = self._next_error = -math.inf
        self._heat_t: float | None = None
        self._heating_c = 0.0
        self._reported: tuple[Any, ...] = ()
        self._coded: tuple[Any, ...] = ()  # the state whose payload, all but its last byte, is this:
        self._coded_payload = b""
        self._error_told = False
        self.wake()

    def wake(self) -> None:
        """Something was changed from outside: the next step looks at everything."""
        self._full_due = self.due = -math.inf

    # ------------------------------------------------------------------------------------------------------ the line
    def receive(self, now: float, data: bytes) -> None:
        """Bytes that the host put on the line at `now`; they are whole here one byte time later each."""
        if self.deaf:
            return
        at = max(now, self._rx_free)
        data = data[: max(0, MAX_INPUT - int((at - now) / BYTE_S))]  # more than a line carries is lost
        for i in range(0, len(data), 12):
            piece = data[i : i + 12]
            at += len(piece) * BYTE_S
            self._rx.append((at, piece))
        self._rx_free = at
        again = len(data) == FRAME_BYTES and self._running and data[:_COMMAND_BYTES] == self._command
        if data and not (again and self._repeats):
            self._repeats = False
            self._full_due = min(self._full_due, self._rx[0][0] - _SLACK_S)
            self.due = min(self.due, self._full_due)

    def step(self, now: float, fetch: bool = True, moved: bool = True) -> bytes:
        """Advance to `now`; returns the bytes that have left the line's end since the last call. fetch: False leaves
        them there for `carry`: a rig in lockstep looks at the line only when the host does. moved: False says that its
        watch has held since the step before."""
        bent = self.mute, self.diode_fault, self.cp_short
        if now < self._full_due and bent == self._bent and (not moved or self.watch.holds(self._link.values)):
            self.rest((now,))
            if now >= self._next_grid - _SLACK_S:
                self._grid_due(now)
            return self.carry(now) if fetch else b""
        self._now = now
        if now < self._boot_until:
            self._rx.clear()
            self._write_coils(COILS_OPEN, CP_NEGATIVE)
            return b""
        self._hear(now)
        if now >= self._next_temperature - 1e-9:
            self._next_temperature = now + TEMPERATURE_PERIOD_S
            self._queue(now, encode(Id.TEMPERATURES, self._temperatures(now)))
        cp = self._safety(now)
        if self.mute:
            self._tx.clear()
            self.wake()
            return b""
        self._report(now, cp)
        self._plan(bent)
        return self.carry(now) if fetch else b""

    def rest(self, times: Sequence[float]) -> None:
        """Make up for steps that were left out, because nothing was due and what it watches had not moved: what the
        host said meanwhile is what it said before."""
        self._now = times[-1]
        if self._rx and self._rx[0][0] <= self._now + _SLACK_S:
            for now in times:
                self._hear(now)

    def _hear(self, now: float) -> None:
        """The bytes that have come from the host."""
        while self._rx and self._rx[0][0] <= now + _SLACK_S:
            piece = self._rx.popleft()[1]
            frames = self._reader.feed(piece)
            for ident, payload in frames:
                fields = decode(ident, payload)
                if fields is not None:
                    if ident == Id.CONTROL and fields["Ctl_Sequence"] != self._host_sequence:
                        self._command = piece[:_COMMAND_BYTES]
                    self._obey(now, ident, fields)
            if len(frames) != 1 or frames[0][1] != piece[2:10]:  # the line is not in step with the host's frames
                self._command = b""

    def _plan(self, bent: tuple[bool, ...]) -> None:
        """Until when a step would find nothing to do, as long as what it sees stays as it is."""
        x = self._link.values
        self._bent = bent
        a, b, c, d, e, f, g = (
            x[_PLUGGED], x[_CP_STATE], x[_ESTOP], x[_K_GRID], x[_K_DC], x[_K_PRECHARGE], x[_ENABLE],
        )  # fmt: skip
        self.watch.keep((a, a, b, b, c, c, d, d, e, e, f, f, g, g))
        self._repeats = self._repeats or not self._rx
        if self._disagree_since or self.com_timeout or self._error_told:  # something is being timed
            self._full_due = self.due = -math.inf
            return
        due = min(self._next_temperature, self._next_state)
        if self._running:
            due = min(due, self._host_t + self._host_timeout_s)
        if not self._repeats:
            due = min(due, self._rx[0][0])
        self._full_due = due - _SLACK_S
        self.due = min(due, self._next_grid) - _SLACK_S

    def carry(self, now: float) -> bytes:
        """The bytes that have left the line's end since the last call."""
        if not self._tx:
            return b""
        out = bytearray()
        while self._tx:
            ready, data = self._tx[0]
            start = max(self._tx_free, ready)
            count = min(len(data), int((now - start) / BYTE_S + 1e-6))
            if count <= 0:
                break
            out += data[:count]
            self._tx_free = start + count * BYTE_S
            if count < len(data):
                self._tx[0] = (ready, data[count:])
                break
            self._tx.popleft()
        return bytes(out)

    def _queue(self, now: float, data: bytes) -> None:
        if len(self._tx) >= MAX_QUEUE:
            self.overruns += 1
            return
        if self.garbage_next:
            self._tx.append((now, self._rng.randbytes(self.garbage_next)))
            self.garbage_next = 0
        if self.corrupt_next:
            self.corrupt_next -= 1
            bit = self._rng.randrange(8 * len(data))
            data = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(data))
        elif self.swap_next:
            pairs = [i for i in range(1, 10) if data[i] != data[i + 1]]  # identifier, payload, check sum
            if pairs:
                self.swap_next -= 1
                i = self._rng.choice(pairs)
                data = data[:i] + data[i + 1 : i + 2] + data[i : i + 1] + data[i + 2 :]
        self._tx.append((now, data))

    # ------------------------------------------------------------------------------------------------- safety logic
    def _obey(self, now: float, ident: int, f: Mapping[str, float]) -> None:
        if ident == Id.CONTROL:
            if f["Ctl_Sequence"] == self._host_sequence:
                return  # a hung host whose last frame is repeated by a buffer is a silent host
            self._host_sequence = int(f["Ctl_Sequence"])
            self._host_t, self._running = now, True
            self._asked = Coils(
                grid=bool(f["Ctl_Contactor2"]),
                dc=bool(f["Ctl_Contactor1"]),
                precharge=bool(f["Ctl_Precharge"]),
                converter_enable=bool(f["Ctl_ConverterEnable"]),
            )
            self._duty_pct = f["Ctl_TargetDuty"] if f["Ctl_PwmActive"] else None
        elif ident == Id.RESET:
            alive = self._running and now - self._host_t <= self._host_timeout_s
            if self.com_timeout and alive and self._asked == COILS_OPEN:
                self.com_timeout = False
        elif ident == Id.INQUIRY:
            if f["Inq_PacketId"] == Id.VERSION:
                major, minor, build = self.version
                fields = {"Ver_Major": major, "Ver_Minor": minor, "Ver_Build": build, "Ver_Platform": 1}
                self._queue(now, encode(Id.VERSION, {**fields, "Ver_Application": 3}))
            else:
                self._error(now, True, E_INQUIRY, int(f["Inq_PacketId"]))

    def _safety(self, now: float) -> CpState:
        """Coils from what the host asks and what is permitted; returns the pilot's state.

        The control pilot speaks for the car, so it holds the vehicle side: DC pair, precharge relay and, so that the
        contactors need not break the current, the converter's enable. The grid contactor only supplies the converter.
        """
        if self._running and now - self._host_t > self._host_timeout_s:
            self.com_timeout = True
        cp, asked = self._cp(), self._asked
        blocked = not self._running or self.com_timeout or bool(self._link.estop)
        car_blocked = blocked or cp not in ENERGISABLE or self._diode_fault_seen() or self._overheated
        car_asked = asked.dc or asked.precharge or asked.converter_enable
        # Nothing closes by itself when the cause goes away: the host must ask for open first.
        self._inhibit = (self._inhibit or blocked) and asked != COILS_OPEN
        self._car_inhibit = (self._car_inhibit or car_blocked) and car_asked
        coils = COILS_OPEN
        if not blocked and not self._inhibit:
            coils = asked if not car_blocked and not self._car_inhibit else Coils(grid=asked.grid)
        if self.com_timeout:
            duty = CP_NEGATIVE  # state F: the charger is not available
        else:
            duty = NO_PWM if self._duty_pct is None else self._duty_pct
        self._write_coils(coils, duty)
        return cp

    def _write_coils(self, coils: Coils, cp_duty_pct: float) -> None:
        link = self._link
        self._coils = coils
        link.coil_grid = float(coils.grid)
        link.coil_dc = float(coils.dc)
        link.coil_precharge = float(coils.precharge)
        link.converter_enable = float(coils.converter_enable)
        link.cp_duty_pct = cp_duty_pct

    def _cp(self) -> CpState:
        if self.com_timeout or self._duty_pct == 0.0:
            return CpState.F
        if self.cp_short:
            return CpState.E
        if not self._link.ev_plugged:
            return CpState.A
        return CP_OF_CAR.get(int(self._link.ev_cp_state), CpState.INVALID)

    def _diode_fault_seen(self) -> bool:
        """Only the negative half of the PWM, loaded by a car, shows a missing diode."""
        return self.diode_fault and self._duty_pct is not None and bool(self._link.ev_plugged)

    # ------------------------------------------------------------------------------------------------------ reports
    def _report(self, now: float, cp: CpState) -> None:
        state = self._state(now, cp)
        if now >= self._next_state - 1e-9 or state != self._reported:
            self._reported = state
            self._next_state = now + STATE_PERIOD_S
            sequence = max(0, self._host_sequence)
            if state != self._coded:
                fields = dict(zip(_STATE_FIELDS, state, strict=True))
                coded = encode(Id.STATE, {**fields, "Sta_HostSequence": sequence})
                self._coded, self._coded_payload = state, coded[2:9]  # the sequence number is the last byte
            else:
                coded = frame(Id.STATE, self._coded_payload + bytes((sequence,)))
            self._queue(now, coded)
        if now >= self._next_grid - 1e-9:
            self._grid_due(now)
        if self.com_timeout and (not self._error_told or now >= self._next_error - 1e-9):
            self._error(now, True, E_HOST, round(self._host_timeout_s * 1000.0))
        elif self._error_told and not self.com_timeout:
            self._error(now, False, E_HOST, 0)
        self._error_told = self.com_timeout

    def _error(self, now: float, active: bool, what: tuple[int, int], data: int) -> None:
        self._next_error = now + ERROR_PERIOD_S
        fields = {"Err_Active": active, "Err_Module": what[0], "Err_Reason": what[1], "Err_Data1": data, "Err_Data2": 0}
        self._queue(now, encode(Id.ERROR, fields))

    def _state(self, now: float, cp: CpState) -> tuple[float, ...]:
        """The values of _STATE_FIELDS."""
        x, coils = self._link.values, self._coils
        grid, dc, precharge = x[_K_GRID] != 0.0, x[_K_DC] != 0.0, x[_K_PRECHARGE] != 0.0
        estop = bool(x[_ESTOP])
        pwm = self._duty_pct is not None and not self.com_timeout
        return (
            pwm,
            self._duty_pct if self._duty_pct is not None and pwm else 0.0,
            cp.value,
            self.cp_short,
            self._diode_fault_seen(),
            0,  # a fixed DC cable has no proximity coding on this side
            dc,
            self._disagrees(now, "dc", dc, coils.dc),
            grid,
            self._disagrees(now, "grid", grid, coils.grid),
            cp in ENERGISABLE and not (estop or self.com_timeout),
            estop,
            3,
            3,
            precharge,
            self._disagrees(now, "precharge", precharge, coils.precharge),
            x[_ENABLE] != 0.0,
            self.com_timeout,
        )

    def _disagrees(self, now: float, name: str, mirror: bool, coil: bool) -> bool:
        """True once coil and mirror contact have been apart for longer than mirror_fault_s."""
        if mirror == coil:
            self._disagree_since.pop(name, None)
            return False
        return now - self._disagree_since.setdefault(name, now) > self._mirror_fault_s

    def _grid_due(self, now: float) -> None:
        due = max(self._next_grid, now) if math.isinf(self._next_grid) else self._next_grid
        late = int((now - due) / GRID_PERIOD_S + 1e-6)
        self._next_grid = due + (late + 1) * GRID_PERIOD_S
        self.due = min(self._full_due, self._next_grid - _SLACK_S)
        self._sense_grid(now, late)

    def _sense_grid(self, now: float, late: int) -> None:
        """One sample. Those that were due while nobody called `step` are missing from the count, as on a real line."""
        if not self.freeze_grid:
            x, rng = self._link.values, self._rng
            noise_a, noise_b = two(rng)
            a, b, c = x[_PCC_A] + noise_a * VOLTAGE_NOISE_V, x[_PCC_B] + noise_b * VOLTAGE_NOISE_V, x[_PCC_C]
            f_hz = x[_PCC_F]
            timed = 0.0 < f_hz < MAX_FREQUENCY_HZ
            if timed and a >= MIN_FREQUENCY_V:
                noise_c, noise_f = two(rng)
                c += noise_c * VOLTAGE_NOISE_V
                f_hz += noise_f * FREQUENCY_NOISE_HZ
            else:
                c += rng.gauss(0.0, VOLTAGE_NOISE_V)
                live = timed and (b >= MIN_FREQUENCY_V or c >= MIN_FREQUENCY_V)
                f_hz = f_hz + rng.gauss(0.0, FREQUENCY_NOISE_HZ) if live else math.nan
            # Below zero, and no number, is zero.
            self._grid = (a if a > 0.0 else 0.0, b if b > 0.0 else 0.0, c if c > 0.0 else 0.0), f_hz
        if not self.stop_sequence:
            self._grid_sequence = (self._grid_sequence + 1 + late) & 0xFF
        self._queue(now, encode_grid_sense(*self._grid, self._grid_sequence))

    def _temperatures(self, now: float) -> dict[str, float]:
        """Inputs 1 and 2 sit at the DC contacts of the plug; 3 and 4 are not fitted unless a value is set."""
        since, self._heat_t = now - (now if self._heat_t is None else self._heat_t), now
        final_c = HEATING_C_PER_A2 * self._link.cable_i_a**2
        self._heating_c += (final_c - self._heating_c) * -math.expm1(-since / HEATING_S)
        fields: dict[str, float] = {}
        hottest = -math.inf
        for n in range(1, 5):
            value = self.temperatures_c[n - 1]
            if value is None and n <= 2:
                value = self._link.ambient_c + self._heating_c + self._rng.gauss(0.0, 0.05)
            if value is not None and n not in self.self_test_failed:
                hottest = max(hottest, value)
            fields[f"Tmp_{n}"] = NO_SENSOR_C if value is None else max(-100.0, min(300.0, value))
            fields[f"Tmp_{n}SelftestFailed"] = n in self.self_test_failed
        self._overheated = hottest > STOP_C - (STOP_HYSTERESIS_C if self._overheated else 0.0)
        for n in range(1, 5):
            fields[f"Tmp_{n}Stopped"] = self._overheated and fields[f"Tmp_{n}"] != NO_SENSOR_C
        return fields

    # -------------------------------------------------------------------------------------------------- rig's commands
    def reboot(self) -> None:
        """A reset by brown-out: silent and open for BOOT_S, counters from zero, and it waits for a host."""
        self._start(self._now + BOOT_S)

    def handle(self, command: dict[str, Any]) -> None:
        """{"mute": bool}, {"deaf": bool}, {"freeze_grid": bool}, {"stop_sequence": bool}, {"diode_fault": bool},
        {"cp_short": bool}, {"corrupt_next": frames}, {"swap_next": frames}, {"garbage_next": bytes},
        {"temperatures_c": [degC or null, four]}, {"self_test_failed": [inputs]}, {"version": [1, 2, 3]},
        {"reboot": true}. Several at once are all checked first. Raises ValueError with a sentence."""
        self.wake()
        for name, value in checked("pilot MCU", _COMMANDS, command).items():
            if name == "reboot":
                self.reboot()
            else:
                setattr(self, name, value)


_COMMANDS = {
    **dict.fromkeys(("mute", "deaf", "freeze_grid", "stop_sequence", "diode_fault", "cp_short"), FLAG),
    **dict.fromkeys(("corrupt_next", "swap_next", "garbage_next"), whole(0, 10_000)),
    "temperatures_c": Rule(
        lambda v: isinstance(v, list) and len(v) == 4 and all(c is None or is_number(c, *TEMPERATURE_C) for c in v),
        "four values of -100 to 300 degC or null",
        list,
    ),
    "self_test_failed": Rule(lambda v: isinstance(v, list) and set(v) <= {1, 2, 3, 4}, "inputs from 1 to 4", set),
    "version": Rule(
        lambda v: isinstance(v, list) and len(v) == 3 and set(v) <= set(range(256)), "three whole numbers to 255", tuple
    ),
    "reboot": ACTION,
}


class _Process:
    """The MCU at the far end of a serial line: an existing terminal, or a pseudo-terminal under the name given."""

    def __init__(self, shm: str, port: str, seed: int) -> None:
        self._serial = open_serial(port, BAUD) if os.path.exists(port) else None
        self._fd, self._host_fd, self._link_path = (-1, None, None) if self._serial else open_line(port)
        if self._serial is None:
            os.set_blocking(self._fd, False)
        self._shared = SharedLink(shm)
        self._pilot = EmulatedPilot(self._shared.link, random.Random(seed))
        self.handle = self._pilot.handle

    def step(self, now: float) -> None:
        self._pilot.receive(now, self._recv())
        data = self._pilot.step(now)
        if data and self._serial:
            self._serial.send(data)
        elif data:
            with contextlib.suppress(BlockingIOError):  # nobody reads: lost, as on a real line
                os.write(self._fd, data)

    def _recv(self) -> bytes:
        if self._serial:
            return self._serial.recv()
        try:
            return os.read(self._fd, 4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        if self._serial:
            self._serial.close()
        if self._link_path:
            with contextlib.suppress(OSError):
                os.unlink(self._link_path)
        for fd in (self._fd, self._host_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._shared.close()


def main() -> int:
    parser = arguments("emulated pilot and contactor MCU on a serial line")
    parser.add_argument("--port", required=True, help="the line: a terminal, or the name of the link to make")
    options = parser.parse_args()
    try:
        process = _Process(options.shm, options.port, options.seed)
    except HalError as error:
        print(error, file=sys.stderr)
        return 1
    return run(process, 0.0025)


if __name__ == "__main__":
    raise SystemExit(main())
