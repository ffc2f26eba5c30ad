"""Driver of the InfyPower BEG1K075G (BEG/BEC protocol V1.04): one bidirectional 22 kW AC/DC module on CAN.

Sans I/O: implements hal.ports.Converter. The protocol is request and answer: every value is polled, every write is
echoed. The four things that decide how this driver is built:

* Set-points are magnitudes, and the direction is a mode of its own. A lost mode write would turn a discharge into a
  charge, so the mode is confirmed by its echo *and* by a read of 1111 that was asked for after the echo, and 1111 is
  read again before every start and all the time. The sign of the answers is unverified: magnitudes only.
* A module that restarts holds nothing of what was written, and says nothing about it. Its set-points are refreshed,
  its mode and its on state are watched, and after a restart everything is read anew and nothing is switched on again
  before an off was commanded: power never comes back by itself.
* Off waits for nothing: it leaves in the same call, before every other frame, and again until the module says so.
* 125 kbit/s is little: reads follow a plan whose worst load is computed (infy_plan), a few frames a tick.

docs/drivers/infy_beg.md has the plan, the sequences and what is unverified on hardware.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from hal.can import infy_codec as codec
from hal.can.infy_plan import AC_POWER, AC_REACTIVE, DC_I, DC_V, GRID, MODE, STATUS, TEMPERATURE, PollPlan, default_plan
from hal.can.infy_power_factor import POWER_FACTOR, TAN_PHI_MAX, PowerFactor
from hal.can.infy_registers import ECHO_TIMEOUT_S, MAX_TRIES, Poller, Register
from hal.can.infy_status import DC_OFF, SLEEPING, faults_of, warnings_of
from hal.ports import CanFrame, ConverterCommand, ConverterLimits, ConverterStatus, Direction, GridTelemetry, Reading

LIMITS = tuple(codec.selector_of(f"Rd_Cap{name}") for name in ("MaxVoltage", "MinVoltage", "MaxCurrent", "RatedPower"))
READ_OUT = (*LIMITS, STATUS, MODE, DC_V, DC_I)  # what must be known before `ready`
VOLTAGE, OVP, CUTOFF, CURRENT, ON_OFF, WORKING_MODE = (
    codec.selector_of(f"Wr_{name}")
    for name in ("SystemVoltage", "OverVoltagePoint", "DischargeCutoffVoltage", "ModuleCurrent", "OnOff", "WorkingMode")
)
SET_POINTS = (VOLTAGE, OVP, CUTOFF, CURRENT)
OVP_TOP_V = codec.WRITE_FIELDS[OVP].maximum
CURRENT_ZERO = codec.encode_write(CURRENT, 0.0)
ON, OFF = codec.encode_write(ON_OFF, codec.ON), codec.encode_write(ON_OFF, codec.OFF)
MODE_PAYLOAD = {
    Direction.CHARGE: codec.encode_write(WORKING_MODE, codec.MODE_RECTIFIER),
    Direction.DISCHARGE: codec.encode_write(WORKING_MODE, codec.MODE_INVERTER),
}
MAX_FRAMES_PER_TICK = 4  # 5 ms of bus in one direction; an off comes on top
MAX_READS_PER_TICK = 2
_MOST_CREDIT = float(MAX_FRAMES_PER_TICK)
OFF_REPEAT_S = 0.05  # obligation 5 allows 0.1 s
FRESH_S = 0.25  # age up to which I and the status count for a decision: five polls
START_TIMEOUT_S = 5.0  # from the first on frame to a running DC side; own choice, start-up time unverified
TURN_TIMEOUT_S = 3.0  # a direction that takes longer is a fault; off, mode, echo and read-back take about 0.1 s


class InfyBeg:
    """One BEG1K075G. See hal.ports.Converter for the numbered obligations.

    controller_address: 0xF0..0xF8, ours. module_address: 0x00..0x3E; broadcast (0x3F) is refused, since a confirmation
    is worth something only from a module that is known. bitrate in bit/s. Raises ValueError with a sentence.
    """

    silence_off_s = 10.0  # sheet of V1.13, unverified for V1.04; guard's hardware enable must be faster
    zero_current_a = 1.0  # own choice, above the 0.5 % measuring error of 73 A
    offline_after_s = 0.5  # ten unanswered polls of each fast value

    def __init__(
        self,
        controller_address: int = 0xF0,
        module_address: int = 0,
        bitrate: int = 125_000,
        plan: PollPlan | None = None,
    ) -> None:
        if not 0xF0 <= controller_address <= 0xF8:
            raise ValueError(f"controller_address {controller_address:#x} must be 0xF0 to 0xF8.")
        if not 0x00 <= module_address <= 0x3E:
            raise ValueError(
                f"module_address {module_address:#x} must be 0x00 to 0x3E (broadcast cannot be confirmed)."
            )
        self._plan = plan or default_plan(bitrate)
        self._bus_load = self._plan.bus_load
        read_id = codec.make_id(codec.READ, module_address, controller_address)
        self._reads = {s: CanFrame(read_id, codec.encode_read(s)) for s in codec.READ_FIELDS}
        # Identifiers without their error field, of frames to us: by the module itself, and by whoever leads its group.
        self._theirs, self._group = (
            {
                codec.make_id(command, controller_address, source, device=device): command
                for device in (codec.DEVICE_MODULE, codec.DEVICE_GROUP)
                for command in commands
            }
            for source, commands in ((module_address, (codec.READ, codec.WRITE)), (codec.BROADCAST, (codec.WRITE,)))
        )
        self._write_id = codec.make_id(codec.WRITE, module_address, controller_address)
        self._power_factor = PowerFactor()
        self._registers = {s: Register() for s in (*SET_POINTS, ON_OFF, WORKING_MODE)}
        self._registers[POWER_FACTOR] = self._power_factor.register
        self._levels = tuple(self._registers[s] for s in SET_POINTS)
        self._poller = Poller(self._plan)
        self._write_credit, self._credit_t = float(MAX_FRAMES_PER_TICK), -math.inf
        self.resets = 0
        # ---- what the module said
        self._answered_t = -math.inf
        self._seen = False  # it answered at least once
        self._online = False
        self._online_t = -math.inf
        self._limit_values: dict[int, float] = {}
        self._limits: ConverterLimits | None = None
        self._status: Reading[int] | None = None
        self._on: Reading[bool] | None = None  # what it says of the DC side
        self._bits = 0  # the status that `_told` is of
        self._told: tuple[tuple[str, ...], tuple[str, ...]] = (), ()  # codes of faults and of warnings
        self._mode: Direction | None = None  # last read-back
        self._direction: Direction | None = None  # confirmed
        self._v: Reading[float] | None = None
        self._i: Reading[float] | None = None
        self._p: Reading[float] | None = None
        self._q: Reading[float] | None = None
        self._t: Reading[float] | None = None
        self._grid: Reading[GridTelemetry] | None = None
        self._grid_part: dict[int, tuple[float, float]] = {}
        # ---- what is being done
        self._on_asked = False  # the last command was on
        self._armed = True  # False: the module fell out under power; an off must be commanded before the next on
        self._off_since: float | None = None  # off is being sent since; None = not switching off
        self._off_sent_t = -math.inf
        self._off_confirmed = False
        self._start_t: float | None = None  # this start's beginning; None = not starting
        self._on_sent_t: float | None = None
        self._verified = False  # 1111 was read back during this start
        self._running = False  # start done: on confirmed, set-points follow the command
        self._confirm: Direction | None = None  # direction being confirmed
        self._confirm_read_t: float | None = None
        self._confirm_failed = 0
        self._turn_t: float | None = None  # a change of direction goes on since

    # ---------------------------------------------------------------------------------------------------- receive
    def receive(self, now: float, frame: CanFrame) -> None:
        """Take one frame. Only complete answers of our module to us count; all others change nothing."""
        identifier, data, _, extended, broken = frame
        if broken or not extended or len(data) != 8:
            return
        who, error = identifier & codec.NO_ERROR_MASK, identifier & codec.ERROR_MASK
        command = self._theirs.get(who)
        if command == codec.READ:
            decoded = codec.decode_reply(data)
            if decoded is not None and not error:
                self._answered(now)
                self._poller.outstanding.answer(now, decoded[0], data)
                self._value(now, *decoded)
        elif command is not None or who in self._group:
            decoded = codec.decode_write(data)
            # The system voltage may be echoed by the master of the group (facts 1.1), everything else by the module.
            if decoded is None or (command is None and decoded[0] != VOLTAGE):
                return
            self._answered(now)
            register = self._registers.get(decoded[0])
            if register is None or error:  # a refused write counts as one without echo
                return
            if decoded[0] == POWER_FACTOR:
                self._power_factor.echo(now, data)
            else:
                register.echo(now, data)

    def _answered(self, now: float) -> None:
        if now - self._answered_t > self.offline_after_s:
            self._age(now)
        self._answered_t = now
        if not self._online:
            self._online, self._online_t = True, now
            self._read_out(again=self._seen)
            self._seen = True

    def _value(self, now: float, selector: int, value: float) -> None:
        if self._poller.missing:
            self._poller.missing.pop(selector, None)
        if selector == DC_I:
            self._i = Reading(self._signed(value), now)
        elif selector == DC_V:
            self._v = Reading(abs(value), now)
        elif selector == STATUS:
            self._on_status(now, int(value))
        elif selector in GRID:
            self._grid_part[selector] = (abs(value), now)
            if len(self._grid_part) == len(GRID):
                self._publish_grid()
        elif selector == MODE:
            self._on_mode(now, Direction.DISCHARGE if value else Direction.CHARGE)
        elif selector == AC_POWER:
            self._p = Reading(self._signed(value), now)
        elif selector == AC_REACTIVE:
            self._q = Reading(value, now)
        elif selector == TEMPERATURE:
            self._t = Reading(value, now)
        elif selector in LIMITS:
            self._limit_values[selector] = value
            self._take_limits()

    def _signed(self, value: float) -> float:
        """The magnitude with the sign of the mode that was read back last; + before any was."""
        return -abs(value) if self._mode is Direction.DISCHARGE and value else abs(value)

    def _publish_grid(self) -> None:
        a, b, c, f = (self._grid_part[s] for s in GRID)
        f_hz = f[0] if f[0] > 1.0 else math.nan  # the module answers 0 when it cannot measure one
        # One set of four answers has one time: that of the oldest, so that the others are never made to look newer.
        self._grid = Reading(GridTelemetry((a[0], b[0], c[0]), f_hz), min(a[1], b[1], c[1], f[1]))
        self._grid_part.clear()

    def _take_limits(self) -> None:
        if len(self._limit_values) < len(LIMITS):
            return
        v_max, v_min, i_max, p_rated = (self._limit_values[s] for s in LIMITS)
        if 0.0 <= v_min < v_max and i_max > 0.0 and p_rated > 0.0:
            self._limits = ConverterLimits(v_min, v_max, i_max, p_rated, TAN_PHI_MAX)
        else:  # a module that has not finished booting answers zeroes: ask again
            self._limit_values.clear()
            self._poller.missing.update(dict.fromkeys(LIMITS, self._answered_t))

    def _on_status(self, now: float, bits: int) -> None:
        before = self._status
        self._status, self._on = Reading(bits, now), Reading(not bits & DC_OFF, now)
        off = bool(bits & DC_OFF)
        if self._off_since is not None:
            echoed = self._registers[ON_OFF].holds(OFF)
            self._off_confirmed = off and echoed
        elif off and self._running:
            # It stopped by itself. With a fault bit the reason is known; without one it has restarted.
            self._fell_out(restarted=not faults_of(bits))
        if bits & SLEEPING and before is not None and not before.value & SLEEPING and not self._poller.missing:
            self._fell_out(restarted=True)

    def _on_mode(self, now: float, mode: Direction) -> None:
        self._mode = mode
        if self._confirm is not None:
            asked = self._confirm_read_t
            if asked is None or not self._registers[WORKING_MODE].holds(MODE_PAYLOAD[self._confirm]):
                return  # an answer to a question from before the echo proves nothing
            self._confirm_read_t = None
            if mode is self._confirm:
                self._direction, self._confirm, self._confirm_failed, self._turn_t = mode, None, 0, None
            else:  # echoed, but not done: write it again
                self._confirm_failed += 1
                self._registers[WORKING_MODE].forget()
        elif self._direction is not None:
            if mode is not self._direction:
                self._fell_out(restarted=True)
            elif self._start_t is not None and self._confirm_read_t is not None:
                self._confirm_read_t, self._verified = None, True

    # ------------------------------------------------------------------------------------------------- life cycle
    def _read_out(self, again: bool) -> None:
        """Everything the module may have forgotten is unknown again; all of it is read before `ready`."""
        if again:
            self.resets += 1
        self._forget()
        self._limits = self._status = self._on = None
        self._limit_values.clear()
        self._poller.read_out(READ_OUT)

    def _fell_out(self, restarted: bool) -> None:
        """The module is no longer what we made it. It stays off until an off has been commanded."""
        if restarted:
            self._read_out(again=True)
        self._forget()
        self._off_confirmed = False

    def _forget(self) -> None:
        """No set-point, no mode and no start survive; under power the driver is disarmed."""
        for register in self._registers.values():
            register.forget()
        self._direction = self._confirm = self._confirm_read_t = None
        self._start_t = self._on_sent_t = None
        self._running = self._verified = False
        if self._on_asked:
            self._armed = False

    def _age(self, now: float) -> None:
        if self._online and now - self._answered_t > self.offline_after_s:
            self._online = False
            self._forget()
            self._poller.outstanding.forget()
            self._off_confirmed = False

    # ------------------------------------------------------------------------------------------------------- poll
    def poll(self, now: float) -> ConverterStatus:
        """The status as of `now` (monotonic seconds)."""
        self._age(now)
        bits = self._status.value if self._status is not None and self._online else 0
        if bits != self._bits:
            self._bits, self._told = bits, (tuple(faults_of(bits)), tuple(warnings_of(bits)))
        faults, warnings = self._told
        if self._poller.outstanding.clash(now) and "converter_id_clash" not in faults:
            faults += ("converter_id_clash",)
        if self._online and self._mode_unconfirmed(now):
            faults += ("converter_mode_unconfirmed",)
        if self._online and self._no_echo(now):
            faults += ("converter_no_echo",)
        limits = self._limits
        if self._power_factor.refused:
            warnings += ("converter_no_power_factor",)
            limits = replace(limits, tan_phi_max=0.0) if limits is not None else None
        return ConverterStatus(  # by position: a third less time
            self._online,
            self._online and not self._poller.missing and self._limits is not None and self._armed and not faults,
            limits,
            self._direction,
            self._on,
            self._v,
            self._i,
            self._p,
            self._q,
            self._power_factor.confirmed,
            self._grid,
            self._t,
            faults,
            warnings,
            self._bus_load,
            self.resets,
        )

    def _mode_unconfirmed(self, now: float) -> bool:
        late = self._turn_t is not None and now - self._turn_t > TURN_TIMEOUT_S
        return late or self._confirm_failed >= MAX_TRIES or self._registers[WORKING_MODE].unconfirmed

    def _no_echo(self, now: float) -> bool:
        setpoints = self._power_factor.lost
        for register in self._levels:  # a generator for any() would cost more than all of it
            setpoints = setpoints or register.failed >= MAX_TRIES
        starting = self._on_sent_t is not None and not self._running and now - self._on_sent_t > START_TIMEOUT_S
        # Only a module that talks can deny an off; one that has fallen silent (its supply is cut by the same trip) is
        # soon not online, which says it better.
        off = self._off_since is not None and not self._off_confirmed
        off = off and self._answered_t - max(self._off_since or 0.0, self._online_t) > MAX_TRIES * ECHO_TIMEOUT_S
        return setpoints or starting or off

    # ---------------------------------------------------------------------------------------------------- command
    def command(self, now: float, command: ConverterCommand) -> Sequence[CanFrame]:
        """The frames of this tick: off first, then set-points, then the reads that are due."""
        self._age(now)
        frames: list[CanFrame] = []
        since_s = now - max(self._credit_t, now - 1.0)
        self._write_credit = min(_MOST_CREDIT, self._write_credit + since_s * self._plan.write_rate_hz)
        self._credit_t = now
        if not command.on:
            if self._on_asked:
                self._on_asked, self._off_since = False, None  # a new off: says so at once
            self._armed = True
            self._confirm_failed, self._turn_t = 0, None
            self._switch_off(now, frames)
        else:
            self._on_asked = True
            if not self._armed:
                self._switch_off(now, frames)
            elif self._online and not self._poller.missing and self._limits is not None:
                if self._stopping:  # no start before the module has really stopped
                    self._switch_off(now, frames)
                elif self._direction is command.direction:
                    self._drive(now, command, self._limits, frames)
                else:
                    self._turn(now, command.direction, frames)
        self._read(now, frames)
        return frames

    @property
    def _stopping(self) -> bool:
        """True while an off that was begun is not confirmed."""
        return self._off_since is not None and not self._off_confirmed

    def _switch_off(self, now: float, frames: list[CanFrame]) -> bool:
        """Send off now and again until the module says that it is off. True when it has."""
        if self._off_since is None:
            self._off_since, self._off_sent_t, self._off_confirmed = now, -math.inf, False
            direction, armed = self._direction, self._armed
            self._forget()  # obligation 6; the mode is no set-point and goes on being watched
            self._power_factor.new_start()
            self._direction, self._armed = direction, armed
        if not self._off_confirmed and now - self._off_sent_t >= OFF_REPEAT_S:
            self._off_sent_t = now
            self._registers[ON_OFF].sent(now, OFF)
            frames.append(CanFrame(self._write_id, OFF))
            self._poller.first(now, STATUS)
        return self._off_confirmed

    def _turn(self, now: float, wanted: Direction, frames: list[CanFrame]) -> None:
        """Current to zero, off, mode, echo, read-back. Obligations 3 and 4."""
        still = self._i is not None and self._i.fresh(now, FRESH_S) and abs(self._i.value) < self.zero_current_a
        if self._turn_t is None:
            self._turn_t = now
        if self._confirm is not wanted:
            if self._off_since is None and not still:
                self._write(now, CURRENT, CURRENT_ZERO, frames)
                return
            if not self._switch_off(now, frames):
                return
            self._registers[WORKING_MODE].forget()
            self._direction, self._confirm, self._confirm_read_t, self._confirm_failed = None, wanted, None, 0
        payload = MODE_PAYLOAD[wanted]
        register = self._registers[WORKING_MODE]
        if not register.holds(payload):
            if still:
                self._write(now, WORKING_MODE, payload, frames)
        elif self._confirm_read_t is None:
            if not self._poller.outstanding.waiting(now, MODE, 3 * ECHO_TIMEOUT_S):
                self._ask_mode(now, frames)
        elif now - self._confirm_read_t > ECHO_TIMEOUT_S:
            self._confirm_read_t = None  # unanswered: ask again
            self._confirm_failed += 1

    def _drive(self, now: float, command: ConverterCommand, limits: ConverterLimits, frames: list[CanFrame]) -> None:
        """The confirmed direction is the wanted one: start, or follow the command."""
        charging = command.direction is Direction.CHARGE
        level_v = command.voltage_v if charging else command.cutoff_v
        floor_v = limits.v_min_v if charging else 0.0
        # A level that is missing or that the module cannot reach never becomes a default: no start, and no current.
        usable = math.isfinite(level_v) and level_v >= floor_v and level_v > 0.0
        usable = usable and math.isfinite(command.ovp_v) and command.ovp_v > 0.0
        if not usable:
            if self._running:
                self._write(now, CURRENT, CURRENT_ZERO, frames)
            return
        selector = VOLTAGE if charging else CUTOFF
        top_v = min(limits.v_max_v, codec.WRITE_FIELDS[selector].maximum)
        level = (selector, codec.encode_write(selector, min(max(level_v, limits.v_min_v), top_v)))
        ovp = (OVP, codec.encode_write(OVP, min(command.ovp_v, OVP_TOP_V)))
        # Before all others, for grid protection listens to what it does; a falling current waits 20 ms for it at most.
        reactive = self._power_factor.set_point(now, command.tan_phi)
        power_factor = () if reactive is None else ((POWER_FACTOR, reactive),)
        if not self._running:
            self._start(now, (level, ovp, (CURRENT, CURRENT_ZERO), *power_factor), frames)
            return
        wanted_a = command.current_a if math.isfinite(command.current_a) else 0.0
        amps = min(max(wanted_a, 0.0), limits.i_max_a)
        current = (CURRENT, codec.encode_write(CURRENT, amps))
        last = self._registers[CURRENT].last
        first = last is None or current[1] < last  # less current goes before everything, more after it
        for selector, payload in (*power_factor, *((current, level, ovp) if first else (level, ovp, current))):
            self._write(now, selector, payload, frames)

    def _start(self, now: float, setpoints: Sequence[tuple[int, bytes]], frames: list[CanFrame]) -> None:
        """Set-points with zero current and a fresh read of the mode, all confirmed; then on; then see it run."""
        if self._start_t is None:
            self._start_t, self._off_since, self._on_sent_t = now, None, None
            self._registers[ON_OFF].forget()
            self._verified, self._confirm_read_t = False, None
        if not self._verified and (self._confirm_read_t is None or now - self._confirm_read_t > ECHO_TIMEOUT_S):
            self._ask_mode(now, frames)
        for selector, payload in setpoints:
            self._write(now, selector, payload, frames)
        if not self._verified or not all(self._registers[s].holds(p) for s, p in setpoints):
            return
        register = self._registers[ON_OFF]
        if not register.holds(ON):
            if self._write(now, ON_OFF, ON, frames) and self._on_sent_t is None:
                self._on_sent_t, self._off_confirmed = now, False
        elif self._status is not None and self._status.t >= register.acked_t and not self._status.value & DC_OFF:
            self._running, self._start_t = True, None
        else:
            self._poller.first(now, STATUS)

    # ----------------------------------------------------------------------------------------------------- frames
    def _write(self, now: float, selector: int, payload: bytes, frames: list[CanFrame]) -> bool:
        register = self._registers[selector]
        if self._write_credit < 1.0 or len(frames) >= MAX_FRAMES_PER_TICK or not register.due(now, payload):
            return False
        self._write_credit -= 1.0
        if selector == POWER_FACTOR:
            self._power_factor.sent(now, payload)
        register.sent(now, payload)
        frames.append(CanFrame(self._write_id, payload))
        return True

    def _ask_mode(self, now: float, frames: list[CanFrame]) -> None:
        self._confirm_read_t = now
        self._poller.outstanding.ask(now, MODE)
        frames.append(self._reads[MODE])

    def _read(self, now: float, frames: list[CanFrame]) -> None:
        """The reads of this tick: a few, spread over the ticks by the poller's queue."""
        begun = self._poller.due(now, self._online, self._confirm is not None)
        if "grid" in begun:
            self._grid_part.clear()
        for _ in range(min(MAX_READS_PER_TICK, MAX_FRAMES_PER_TICK - len(frames))):
            selector = self._poller.take(now)
            if selector is None:
                break
            frames.append(self._reads[selector])
