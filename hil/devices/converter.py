"""An emulated InfyPower BEG1K075G on the wire: `python -m hil.devices.converter --shm NAME --bus udp_multicast:...`.

It answers with the protocol's bytes at the pace of a 125 kbit/s bus: every frame, its own or another's, occupies the
bus for its time; answers wait a few milliseconds and for the bus; what its buffers do not hold is lost. It has no
supply while the grid contactor is open, boots for about 3 s, forgets everything when it restarts, refuses what a
module refuses, switches off after 10 s of silence and at once when its enable line falls.

Where the real module's behaviour is unverified ([?] in the comments) the less convenient one is emulated.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from hal.can import infy_codec as codec
from hal.can.bus import BusSpec, open_bus
from hal.can.infy_plan import worst_frame_bits
from hal.ports import CanFrame
from hil.devices import process
from hil.plant.link import PlantLink

RATED_V = (200.0, 1000.0)
RATED_A = 73.3
RATED_W = 22_000.0
BOOT_S = (2.7, 3.3)
START_S = (0.12, 0.2)  # [?] from on to a running DC side; an on during it is answered "start in progress"
SILENCE_OFF_S = 10.0
RAMP_A_PER_S = 200.0
REPLY_S = (0.001, 0.004)  # from the end of a request to its answer standing in the transmit buffer
RECEIVE_BUFFER = 16  # frames; a CAN controller of this class has fewer
TRANSMIT_BUFFER = 16
SAMPLE_S = 0.010  # its own measuring period
MODE_CHANGE_A = 2.0  # [?] above it a mode write is refused while the DC side runs
SUPPLY_V = 60.0  # [?] phase voltage below which the auxiliary supply dies after HOLD_UP_S
HOLD_UP_S = 0.5
TOO_HOT_C = 95.0  # [?]
# Its own AC protection, writable under 2120..212F: threshold (line-to-line V, Hz) and delay (s). Frequencies and delays
# are what one public test tool writes; the voltages are wide enough for any grid code. All of it [?].
AC_PROTECTION = (
    ("Ov1", 530.0, 5.0), ("Ov2", 560.0, 5.0), ("Uv1", 260.0, 5.0), ("Uv2", 200.0, 5.0),
    ("Of1", 53.0, 5.0), ("Of2", 54.0, 5.0), ("Uf1", 47.0, 5.0), ("Uf2", 46.0, 5.0),
)  # fmt: skip
_BIT = codec.STATUS_BITS
_WRITE = {entry.name: selector for selector, entry in codec.WRITE_FIELDS.items()}
_SQRT3 = math.sqrt(3.0)


@dataclass
class Faults:
    """Faults on request. Field names are the keys that `EmulatedBeg.handle` takes; defaults are "no fault"."""

    mute: bool = False  # hears, obeys and says nothing
    deaf: bool = False  # hears nothing
    drop_echoes: int = 0  # so many of the next write echoes are lost
    drop_share: float = 0.0  # share of frames lost, both ways
    delay_s: float = 0.0  # added to every answer
    freeze: bool = False  # measured values stand still
    corrupt_share: float = 0.0  # share of answers with a wrong length, selector, address or value
    error_code: int = 0  # error field of every answer
    id_clash: bool = False  # a second module answers under the same address
    status_bits: int = 0  # bits forced on in the status
    ignore_mode: str = ""  # "echo": echoes a mode write and does not change; "silent": changes without echo
    ignore_off: bool = False  # echoes off and goes on; the enable line still works
    reverse: bool = False  # power stage runs against its mode
    current_gain: float = 1.0  # power stage carries this multiple of the set-point
    babble_hz: float = 0.0  # sends so many unasked frames a second


@dataclass
class _State:
    """What a restart loses."""

    running: bool = False
    start_t: float = math.inf  # end of the start-up; inf = not starting
    inverter: bool = False
    voltage_v: float = 0.0
    current_a: float = 0.0
    ovp_v: float = 0.0
    cutoff_v: float = 0.0
    ramp_a: float = 0.0
    walk_in: bool = False
    latched: int = 0  # status bits that stay until off is written
    protection: dict[str, list[float]] = field(
        default_factory=lambda: {name: [threshold, delay] for name, threshold, delay in AC_PROTECTION}
    )
    outside: dict[str, float] = field(default_factory=dict)  # AC quantity outside its window since


class EmulatedBeg:
    """One module. Feed it every frame of the bus and call `step` often; it reads and writes the plant's link.

    address: its own, 0x00..0x3E. limits: rated lowest and highest V, A, W. Randomness (delays, noise) is the caller's.
    """

    def __init__(
        self,
        link: PlantLink,
        rng: random.Random,
        address: int = 0,
        bitrate: int = 125_000,
        *,
        boot_s: tuple[float, float] = BOOT_S,
    ) -> None:
        self.faults = Faults()
        self.overruns = 0  # frames lost because a buffer was full
        self.address = address
        self._link = link
        self._rng = rng
        self._boot_s = boot_s
        self._frame_s = worst_frame_bits() / bitrate
        self._state = _State()
        self._booted_t = math.inf  # end of the boot; inf = no supply
        self._supplied_t = -math.inf
        self._heard_t = 0.0
        self._now: float | None = None
        self._bus_free_t = 0.0
        self._inbox: deque[tuple[float, CanFrame]] = deque()
        self._outbox: deque[tuple[float, CanFrame]] = deque()
        self._wire: deque[tuple[float, CanFrame]] = deque()
        self._reset_asked: float | None = None
        self._babble_t = 0.0
        self._sample_t = -math.inf
        self._measured = dict.fromkeys(("v", "i", "va", "vb", "vc", "f", "p", "q"), 0.0)
        self._readers = self._reader_table()
        self._off_stage()

    # ------------------------------------------------------------------------------------------------------- the wire
    def receive(self, now: float, frame: CanFrame) -> None:
        """A frame of somebody else is on the bus since `now` (monotonic seconds)."""
        end = self._occupy(now)
        if not self.alive(now) or self.faults.deaf or self._lost():
            return
        if len(self._inbox) >= RECEIVE_BUFFER:
            self.overruns += 1
            return
        self._inbox.append((end, frame))

    def alive(self, now: float) -> bool:
        """Supplied and booted."""
        return now >= self._booted_t

    def _occupy(self, start: float) -> float:
        self._bus_free_t = max(start, self._bus_free_t) + self._frame_s
        return self._bus_free_t

    def _lost(self) -> bool:
        return self.faults.drop_share > 0.0 and self._rng.random() < self.faults.drop_share

    def step(self, now: float) -> list[CanFrame]:
        """Advance to `now`; the frames whose last bit has left."""
        dt = 0.0 if self._now is None else max(0.0, now - self._now)
        self._now = now
        self._supply(now)
        if self.alive(now):
            while self._inbox and self._inbox[0][0] <= now:
                self._obey(*self._inbox.popleft())
            self._watch(now)
            self._babble(now)
        self._power_stage(now, dt)
        while self._outbox and self._outbox[0][0] <= now:
            ready, frame = self._outbox.popleft()
            self._wire.append((self._occupy(ready), frame))
        sent: list[CanFrame] = []
        while self._wire and self._wire[0][0] <= now:
            frame = self._wire.popleft()[1]
            if not self.faults.mute and not self._lost():
                sent.append(frame)
        return sent

    def _send(self, t: float, frame: CanFrame) -> None:
        if len(self._outbox) >= TRANSMIT_BUFFER:
            self.overruns += 1
            return
        ready = t + self._rng.uniform(*REPLY_S) + self.faults.delay_s
        if self._outbox:
            ready = max(ready, self._outbox[-1][0])
        self._outbox.append((ready, frame))

    # --------------------------------------------------------------------------------------------------------- supply
    def _supply(self, now: float) -> None:
        link = self._link
        live = max(link.ac_va_v, link.ac_vb_v, link.ac_vc_v) >= SUPPLY_V
        if live:
            self._supplied_t = now
        supplied = link.k_grid >= 0.5 and (live or now - self._supplied_t < HOLD_UP_S)
        if not supplied:
            self._lose_state(math.inf)
        elif self._booted_t == math.inf:
            self._lose_state(now + self._rng.uniform(*self._boot_s))
        if self._reset_asked is not None:
            if supplied:
                self._lose_state(now + self._reset_asked)
            self._reset_asked = None

    def _lose_state(self, booted_t: float) -> None:
        self._booted_t = booted_t
        self._state = _State()
        self._inbox.clear()
        self._outbox.clear()
        self._wire.clear()
        self._heard_t = booted_t
        self._off_stage()

    def _off_stage(self) -> None:
        link = self._link
        link.conv_on = link.conv_i_a = link.conv_v_v = link.conv_cutoff_v = 0.0
        link.conv_dir = 1.0

    # --------------------------------------------------------------------------------------------------------- frames
    def _obey(self, t: float, frame: CanFrame) -> None:
        """A request whose last bit arrived at t."""
        error, device, command, destination, source = codec.split_id(frame.id)
        mine = destination in (self.address, codec.BROADCAST)
        if not frame.extended or frame.error or len(frame.data) != 8 or error or not mine:
            return
        if device not in (codec.DEVICE_MODULE, codec.DEVICE_GROUP) or command not in (codec.READ, codec.WRITE):
            return
        self._heard_t = t
        selector = int.from_bytes(frame.data[:2], "big")
        if command == codec.READ:
            self._answer_read(t, selector, source)
            return
        decoded = codec.decode_write(frame.data)
        if selector not in codec.WRITE_FIELDS:
            refusal = codec.ERROR_COMMAND
        elif decoded is None:
            refusal = codec.ERROR_DATA
        else:
            refusal = self._write(t, codec.WRITE_FIELDS[selector].name, decoded[1])
        if selector == _WRITE["Wr_WorkingMode"] and self.faults.ignore_mode == "silent":
            return
        if self.faults.drop_echoes > 0:
            self.faults.drop_echoes -= 1
            return
        self._reply(t, codec.WRITE, source, frame.data, refusal)

    def _answer_read(self, t: float, selector: int, source: int) -> None:
        reader = self._readers.get(selector)
        if reader is None:
            payload = selector.to_bytes(2, "big") + bytes(6)
            self._reply(t, codec.READ, source, payload, codec.ERROR_COMMAND)
            return
        value = reader()
        value = value if math.isfinite(value) else 0.0
        entry = codec.READ_FIELDS[selector]
        payload = codec.encode_reply(selector, min(max(value, entry.minimum), entry.maximum))
        self._reply(t, codec.READ, source, payload, 0)
        if self.faults.id_clash:
            other = 0.0 if value > 1.0 else 1.0
            other = min(max(other + self._rng.random(), entry.minimum), entry.maximum)
            self._reply(t, codec.READ, source, codec.encode_reply(selector, other), 0)

    def _reply(self, t: float, command: int, to: int, payload: bytes, error: int) -> None:
        error = self.faults.error_code or error
        frame = CanFrame(codec.make_id(command, to, self.address, error=error), payload)
        if self.faults.corrupt_share > 0.0 and self._rng.random() < self.faults.corrupt_share:
            frame = self._corrupt(frame)
        self._send(t, frame)

    def _corrupt(self, frame: CanFrame) -> CanFrame:
        """What a broken sender may put on the bus behind a good checksum."""
        kind = self._rng.randrange(5)
        if kind == 0:
            return frame._replace(data=frame.data[: self._rng.randrange(8)])
        if kind == 1:
            return frame._replace(data=b"\x7f\x7f" + frame.data[2:])
        if kind == 2:
            return frame._replace(data=frame.data[:4] + b"\x7f\xff\xff\xff")
        if kind == 3:
            return frame._replace(id=frame.id ^ 0x7F)  # another module's address
        return frame._replace(id=frame.id & 0x7FF, extended=False)

    def _babble(self, now: float) -> None:
        if self.faults.babble_hz <= 0.0:
            self._babble_t = now
            return
        while self._babble_t <= now:
            self._babble_t += 1.0 / self.faults.babble_hz
            if self._rng.random() < 0.5:
                identifier = self._rng.getrandbits(29)
            else:
                identifier = codec.make_id(self._rng.choice((codec.READ, codec.WRITE)), 0xF0, self.address)
            self._send(now, CanFrame(identifier, self._rng.randbytes(8)))

    # --------------------------------------------------------------------------------------------------------- writes
    def _write(self, t: float, name: str, value: float) -> int:
        """Do what was written; the error code of the echo."""
        s = self._state
        low_v, high_v = RATED_V
        if name == "Wr_OnOff":
            return self._switch(t, int(value))
        if name == "Wr_WorkingMode":
            return self._change_mode(int(value))
        if name == "Wr_SystemVoltage":
            if not low_v <= value <= high_v:
                return codec.ERROR_DATA
            s.voltage_v = value
        elif name in ("Wr_ModuleCurrent", "Wr_SystemCurrent"):
            if value > RATED_A:
                return codec.ERROR_DATA
            s.current_a = value
        elif name == "Wr_OverVoltagePoint":
            if value < low_v:
                return codec.ERROR_DATA
            s.ovp_v = value
        elif name == "Wr_DischargeCutoffVoltage":
            if not low_v <= value <= high_v:
                return codec.ERROR_DATA
            s.cutoff_v = value
        elif name == "Wr_WalkIn":
            s.walk_in = value == 0xA1
        elif name.startswith("Wr_Ac"):
            key, _, what = name.removeprefix("Wr_Ac").partition("T" if name.endswith("Threshold") else "D")
            s.protection[key][0 if what == "hreshold" else 1] = value
        elif name not in ("Wr_GroupNumber", "Wr_OutputMode", "Wr_PowerFactor"):  # taken, without effect here
            return codec.ERROR_COMMAND
        return 0

    def _switch(self, t: float, value: int) -> int:
        s = self._state
        if value == codec.OFF:
            s.latched = 0
            if not self.faults.ignore_off:
                s.running, s.start_t = False, math.inf
            return 0
        if value != codec.ON:
            return codec.ERROR_DATA
        if s.running:
            return 0
        if s.start_t < math.inf:
            return codec.ERROR_STARTING
        incomplete = s.ovp_v == 0.0 or (s.cutoff_v if s.inverter else s.voltage_v) == 0.0
        if incomplete or s.latched or self._link.converter_enable < 0.5:
            return codec.ERROR_COMMAND  # [?] a module might start on its defaults; nobody should find out
        s.start_t = t + self._rng.uniform(*START_S)
        return 0

    def _change_mode(self, value: int) -> int:
        if value not in (codec.MODE_RECTIFIER, codec.MODE_INVERTER):
            return codec.ERROR_DATA  # off-grid mode exists, but this plant has no islanded load for it
        if self._state.running and abs(self._link.dc_i_a) > MODE_CHANGE_A:
            return codec.ERROR_COMMAND
        if self.faults.ignore_mode != "echo":
            self._state.inverter = value == codec.MODE_INVERTER
        return 0

    # ---------------------------------------------------------------------------------------------------- power stage
    def _watch(self, now: float) -> None:
        """Its own measurement, time-outs and protection."""
        s, link = self._state, self._link
        if now - self._sample_t >= SAMPLE_S and not self.faults.freeze:
            self._sample_t = now
            self._measure()
        if now >= s.start_t:
            s.running, s.start_t, s.ramp_a = True, math.inf, 0.0
        if now - self._heard_t > SILENCE_OFF_S and (s.running or s.start_t < math.inf):
            self._trip(_BIT["St_CommInterrupt"])
        if link.converter_enable < 0.5:
            s.running, s.start_t = False, math.inf
        if s.running and s.ovp_v > 0.0 and link.dc_v_v > s.ovp_v:
            self._trip(_BIT["St_OutputOverVoltage"])
        if link.module_temp_c > TOO_HOT_C:
            self._trip(_BIT["St_OverTemperature"])
        self._watch_ac(now)

    def _trip(self, bit: int) -> None:
        s = self._state
        s.running, s.start_t = False, math.inf
        s.latched |= bit

    def _watch_ac(self, now: float) -> None:
        s, link = self._state, self._link
        lines = [_SQRT3 * v for v in (link.ac_va_v, link.ac_vb_v, link.ac_vc_v)]
        f_hz = link.ac_f_hz
        for name, (threshold, delay_s) in s.protection.items():
            value = {"Ov": max(lines), "Uv": min(lines)}.get(name[:2], f_hz)
            outside = value > threshold if name[0] == "O" else value < threshold
            if not outside:
                s.outside.pop(name, None)
            elif now - s.outside.setdefault(name, now) >= delay_s:
                bits = {"Ov": _BIT["St_InputOverVoltage"], "Uv": _BIT["St_InputLowVoltage"]}
                self._trip(bits.get(name[:2], _BIT["St_Protection"]))

    def _power_stage(self, now: float, dt: float) -> None:
        s, link = self._state, self._link
        if not s.running or not self.alive(now) or link.converter_enable < 0.5:
            s.running, s.ramp_a = False, 0.0
            self._off_stage()
            return
        target = min(s.current_a, RATED_A, self._power_limit_a())
        step = RAMP_A_PER_S * dt
        s.ramp_a = min(max(target, s.ramp_a - step), s.ramp_a + step)
        link.conv_dir = -1.0 if s.inverter is not self.faults.reverse else 1.0
        link.conv_i_a = s.ramp_a * self.faults.current_gain
        link.conv_v_v = s.voltage_v
        link.conv_cutoff_v = s.cutoff_v
        link.conv_on = 1.0

    def _power_limit_a(self) -> float:
        return RATED_W / max(abs(self._link.dc_v_v), 1.0)

    def _measure(self) -> None:
        """One sample of everything, with the noise of its class (about 0.05 %)."""
        link, gauss = self._link, self._rng.gauss
        exact = {
            "v": link.dc_v_v, "i": abs(link.dc_i_a), "va": link.ac_va_v, "vb": link.ac_vb_v, "vc": link.ac_vc_v,
            "p": link.ac_p_w, "q": link.ac_q_var,
        }  # fmt: skip
        for name, value in exact.items():
            good = value if math.isfinite(value) else 0.0
            self._measured[name] = good + gauss(0.0, 0.0005) * abs(good)
        f_hz = link.ac_f_hz
        self._measured["f"] = f_hz + gauss(0.0, 0.002) if math.isfinite(f_hz) and f_hz > 1.0 else 0.0

    # ---------------------------------------------------------------------------------------------------------- reads
    def _status(self) -> float:
        s = self._state
        bits = s.latched | self.faults.status_bits
        if not s.running:
            bits |= _BIT["St_DcSideOff"]
        elif s.current_a > self._power_limit_a() + 0.1:
            bits |= _BIT["St_PowerLimited"]
        if s.walk_in:
            bits |= _BIT["St_WalkInEnabled"]
        if max(self._measured[k] for k in ("va", "vb", "vc")) < SUPPLY_V:
            bits |= _BIT["St_PfcSideOff"]
        return float(bits)

    def _reader_table(self) -> dict[int, Callable[[], float]]:
        """Selector -> the value to answer with, for every selector of the data base."""
        m, link = self._measured, self._link

        def line(a: str, b: str) -> Callable[[], float]:
            # exact for symmetrical angles of 120 degrees
            return lambda: math.sqrt(m[a] ** 2 + m[b] ** 2 + m[a] * m[b])

        by_name: dict[str, Callable[[], float]] = {
            "Status": self._status,
            "Rd_ModuleCount": lambda: 1.0,
            "Rd_AmbientTemp": lambda: link.ambient_c,
            "Rd_InverterMode": lambda: float(self._state.inverter),
            "Rd_CapMinVoltage": lambda: RATED_V[0],
            "Rd_CapMaxVoltage": lambda: RATED_V[1],
            "Rd_CapMaxCurrent": lambda: RATED_A,
            "Rd_CapRatedPower": lambda: RATED_W,
            "Rd_AcFrequency": lambda: m["f"],
            "Rd_AcTotalActivePower": lambda: m["p"],
            "Rd_AcTotalReactivePower": lambda: m["q"],
            "Rd_AcTotalApparentPower": lambda: math.hypot(m["p"], m["q"]),
            "Rd_AcVoltageAB": line("va", "vb"),
            "Rd_AcVoltageBC": line("vb", "vc"),
            "Rd_AcVoltageCA": line("vc", "va"),
        }
        for name in ("System", "Module", "HvSide"):
            by_name[f"Rd_{name}Voltage"] = lambda: m["v"]
            by_name[f"Rd_{name}Current"] = lambda: m["i"]
        currents = {"A": "ac_ia_a", "B": "ac_ib_a", "C": "ac_ic_a"}
        for phase, voltage in (("A", "va"), ("B", "vb"), ("C", "vc")):
            by_name[f"Rd_AcPhaseVoltage{phase}"] = lambda v=voltage: m[v]  # type: ignore[misc]
            by_name[f"Rd_AcPhaseCurrent{phase}"] = lambda p=phase: getattr(link, currents[p])  # type: ignore[misc]
            by_name[f"Rd_AcActivePower{phase}"] = lambda: m["p"] / 3.0
            by_name[f"Rd_AcReactivePower{phase}"] = lambda: m["q"] / 3.0
            by_name[f"Rd_AcApparentPower{phase}"] = lambda: math.hypot(m["p"], m["q"]) / 3.0
        return {selector: by_name[entry.name] for selector, entry in codec.READ_FIELDS.items()}

    # --------------------------------------------------------------------------------------------------------- faults
    def reset(self, boot_s: float | None = None) -> None:
        """Restart at the next step; silent for boot_s seconds (default: as after power-up)."""
        self._reset_asked = self._rng.uniform(*self._boot_s) if boot_s is None else boot_s

    def handle(self, command: dict[str, Any]) -> None:
        """{fault: value, ...} with the names of `Faults`; "status_bits" takes an integer or names of the DBC.

        Also {"reset": true or seconds of silence} and {"clear": true}. Raises ValueError with a sentence; a command
        that is refused changes nothing.
        """
        known = {f.name: type(getattr(Faults(), f.name)) for f in fields(Faults)}
        checked: dict[str, Any] = {}
        for name, value in command.items():
            if name == "reset":
                good = value is True or (isinstance(value, int | float) and 0.0 <= value <= 60.0)
            elif name == "clear":
                good = value is True
            elif name == "status_bits" and isinstance(value, list):
                if not all(isinstance(bit, str) and bit in _BIT for bit in value):
                    raise ValueError(f"status_bits {value} must be names among {', '.join(_BIT)}")
                good, value = True, sum(_BIT[bit] for bit in set(value))
            elif name not in known:
                raise ValueError(f"the converter knows no command {name!r}; it knows {', '.join(known)}, reset, clear")
            else:
                kind = known[name]
                number = isinstance(value, int | float) and not isinstance(value, bool)
                good = isinstance(value, kind) if kind in (bool, str) else number and 0 <= value < 1 << 32
                if good and kind in (int, float):
                    value = kind(value)
                good = good and (name != "ignore_mode" or value in ("", "echo", "silent"))
                good = good and (name != "error_code" or value <= 7)
            if not good:
                raise ValueError(f"the converter cannot take {name} = {value!r}")
            checked[name] = value
        if checked.pop("clear", False):
            self.faults = Faults()
        if "reset" in checked:
            seconds = checked.pop("reset")
            self.reset(None if seconds is True else float(seconds))
        for name, value in checked.items():
            setattr(self.faults, name, value)


class _Process:
    """The module on a real bus and the rig's shared memory."""

    def __init__(self, shm: str, bus: BusSpec, address: int, seed: int) -> None:
        self._shared = process.SharedLink(shm)
        self._port = open_bus(bus)
        self._device = EmulatedBeg(self._shared.link, random.Random(seed), address, bus.bitrate)
        self.handle = self._device.handle

    def step(self, now: float) -> None:
        for frame in self._port.recv(now):
            self._device.receive(now, frame)
        for frame in self._device.step(now):
            self._port.send(frame)

    def close(self) -> None:
        self._port.close()
        self._shared.close()


def main() -> int:
    parser = process.arguments("Emulated BEG1K075G on a CAN bus.")
    parser.add_argument("--bus", required=True, help="such as udp_multicast:239.74.163.2:43113 or socketcan:vcan0")
    parser.add_argument("--bitrate", type=int, default=125_000, help="bit/s, also of a bus that has no bit rate")
    parser.add_argument("--address", type=lambda text: int(text, 0), default=0, help="module address, 0x00..0x3E")
    args = parser.parse_args()
    bus = BusSpec.parse(args.bus, args.bitrate, settle_s=0.0)
    return process.run(_Process(args.shm, bus, args.address, args.seed), 0.001)


if __name__ == "__main__":
    raise SystemExit(main())
