"""An emulated InfyPower BEG1K075G on the wire: `python -m hil.devices.converter --shm NAME --bus udp_multicast:...`.

It answers with the protocol's bytes at the pace of a 125 kbit/s bus: every frame, its own or another's, occupies the
bus for its time; answers wait a few milliseconds and for the bus; what its buffers do not hold is lost. It has no
supply while the grid contactor is open, boots for about 3 s, forgets everything when it restarts, refuses what a
module refuses, switches off after 10 s of silence and at once when its enable line falls (hil/devices/beg_module.py).
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import fields
from typing import Any

from hal.can import infy_codec as codec
from hal.can.bus import BusSpec, open_bus
from hal.can.infy_plan import worst_frame_bits
from hal.ports import CanFrame
from hil.devices import process
from hil.devices.beg_module import SUPPLY_V, BegModule, Faults
from hil.plant.link import INDEX, PlantLink

BOOT_S = (2.7, 3.3)  # [?]
REPLY_S = (0.001, 0.004)  # [?] from the end of a request to its answer standing in the transmit buffer
RECEIVE_BUFFER = 16  # frames; a CAN controller of this class has fewer
TRANSMIT_BUFFER = 16
# [?] How long it lives without AC behind a closed grid contactor: longer than the 1 s of voltage below 0.5 pu that IEEE
# 1547-2018 category III asks a grid-tied inverter to survive, and not much longer.
HOLD_UP_S = 1.5
_BIT = codec.STATUS_BITS
_VA, _VB, _VC, _K_GRID = (INDEX[name] for name in ("ac_va_v", "ac_vb_v", "ac_vc_v", "k_grid"))
WORKING_MODE = codec.selector_of("Wr_WorkingMode")


class EmulatedBeg:
    """One module. Feed it every frame of the bus and call `step` often; it reads and writes the plant's link.

    address: its own, 0x00..0x3E. bitrate in bit/s. boot_s: range of the time from supply to the first answer. The
    randomness of delays and noise is the caller's.
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
        self.overruns = 0  # frames lost because a buffer was full
        self.address = address
        self._link = link
        self._rng = rng
        self._boot_s = boot_s
        self._frame_s = worst_frame_bits() / bitrate
        self._module = BegModule(link, rng)
        self._booted_t = math.inf  # end of the boot; inf = no supply
        self._supplied_t = -math.inf
        self._now: float | None = None
        self._bus_free_t = 0.0
        self._inbox: deque[tuple[float, CanFrame]] = deque()
        self._outbox: deque[tuple[float, CanFrame]] = deque()
        self._wire: deque[tuple[float, CanFrame]] = deque()
        self._reset_asked: float | None = None
        self._babble_t = 0.0
        self._due = -math.inf  # nothing on the wire happens before
        self._module.restart(0.0)

    @property
    def faults(self) -> Faults:
        """Faults on request: set its fields, or use `handle`."""
        return self._module.faults

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
        if end < self._due:
            self._due = end

    def alive(self, now: float) -> bool:
        """Supplied and booted."""
        return now >= self._booted_t

    def _occupy(self, start: float) -> float:
        self._bus_free_t = max(start, self._bus_free_t) + self._frame_s
        return self._bus_free_t

    def _lost(self) -> bool:
        return self.faults.drop_share > 0.0 and self._rng.random() < self.faults.drop_share

    def step(self, now: float) -> list[CanFrame]:
        """Advance to `now`; the frames whose last bit has left.

        A step in which nothing is due only goes on with the power stage's ramp."""
        dt = 0.0 if self._now is None else max(0.0, now - self._now)
        self._now = now
        if now < self._due and self._reset_asked is None and self._rests(now, dt):
            return []
        self._supply(now)
        if self.alive(now):
            while self._inbox and self._inbox[0][0] <= now:
                self._obey(*self._inbox.popleft())
            self._module.watch(now)
            self._babble(now)
            self._module.power_stage(dt)
        while self._outbox and self._outbox[0][0] <= now:
            ready, frame = self._outbox.popleft()
            self._wire.append((self._occupy(ready), frame))
        sent: list[CanFrame] = []
        while self._wire and self._wire[0][0] <= now:
            frame = self._wire.popleft()[1]
            if not self.faults.mute and not self._lost():
                sent.append(frame)
        self._due = self._next(now)
        return sent

    def _rests(self, now: float, dt: float) -> bool:
        """True when a step would find nothing to do but to let the power stage's ramp go on; then that is done."""
        x = self._link.values
        if x[_K_GRID] < 0.5:
            return self._booted_t == math.inf and max(x[_VA], x[_VB], x[_VC]) < SUPPLY_V  # off, and stays off
        if self._booted_t == math.inf or not (x[_VA] >= SUPPLY_V or x[_VB] >= SUPPLY_V or x[_VC] >= SUPPLY_V):
            return False
        if now >= self._booted_t:
            if not self._module.calm(now):
                return False
            self._babble_t = now
            self._module.power_stage(dt)
        self._supplied_t = now
        return True

    def _next(self, now: float) -> float:
        """When something happens next that its own clock decides, not counting what the module itself watches."""
        if not self.alive(now):
            return self._booted_t
        due = self._inbox[0][0] if self._inbox else math.inf
        if self._outbox:
            due = min(due, self._outbox[0][0])
        return min(due, self._wire[0][0]) if self._wire else due

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
        x = self._link.values
        live = max(x[_VA], x[_VB], x[_VC]) >= SUPPLY_V
        if live:
            self._supplied_t = now
        supplied = x[_K_GRID] >= 0.5 and (live or now - self._supplied_t < HOLD_UP_S)
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
        self._module.restart(booted_t)
        self._inbox.clear()
        self._outbox.clear()
        self._wire.clear()

    # --------------------------------------------------------------------------------------------------------- frames
    def _obey(self, t: float, frame: CanFrame) -> None:
        """A request whose last bit arrived at t."""
        error, device, command, destination, source = codec.split_id(frame.id)
        mine = destination in (self.address, codec.BROADCAST)
        if not frame.extended or frame.error or len(frame.data) != 8 or error or not mine:
            return
        if device not in (codec.DEVICE_MODULE, codec.DEVICE_GROUP) or command not in (codec.READ, codec.WRITE):
            return
        self._module.heard_t = t
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
            refusal = self._module.write(t, codec.WRITE_FIELDS[selector].name, decoded[1])
        if selector == WORKING_MODE and self.faults.ignore_mode == "silent":
            return
        if self.faults.drop_echoes > 0:
            self.faults.drop_echoes -= 1
            return
        self._reply(t, codec.WRITE, source, frame.data, refusal)

    def _answer_read(self, t: float, selector: int, source: int) -> None:
        value = self._module.read(selector)
        if value is None:
            payload = selector.to_bytes(2, "big") + bytes(6)
            self._reply(t, codec.READ, source, payload, codec.ERROR_COMMAND)
            return
        entry = codec.READ_FIELDS[selector]
        payload = codec.encode_reply(selector, value)
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
            self._module.faults = Faults()
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
