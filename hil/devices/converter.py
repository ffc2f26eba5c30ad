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
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hal.can import infy_codec as codec
from hal.can.bus import BusSpec, open_bus
from hal.can.infy_plan import worst_frame_bits
from hal.ports import CanFrame
from hil.devices import process
from hil.devices.beg_module import LIVE, SUPPLY_V, BegModule, Faults
from hil.plant.link import INDEX, PlantLink
from hil.plant.watch import FREE, Watch

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
WATCHED = (
    "ac_va_v", "ac_vb_v", "ac_vc_v", "k_grid", "ac_f_hz", "dc_v_v", "module_temp_c", "converter_enable",
)  # fmt: skip
_ALL_FREE = FREE * 4
_DEAD = (-math.inf, math.nextafter(SUPPLY_V, 0.0))  # of a phase
_CLOSED, _OPEN = (0.5, math.inf), (-math.inf, math.nextafter(0.5, 0.0))


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
        self.watch = Watch(WATCHED)
        self._inbox: deque[tuple[float, CanFrame]] = deque()
        self._acted_t = math.inf  # end of the first frame in it that changes more than what is answered
        self._outbox: deque[tuple[float, CanFrame]] = deque()
        self._wire: deque[tuple[float, CanFrame]] = deque()
        self._reset_asked: float | None = None
        self._babble_t = 0.0
        self._wire_due = -math.inf  # nothing on the wire happens before
        self.due = -math.inf  # nothing else happens before, while its watch holds; -inf: look at everything
        self.ramps = False  # what the plant is given changes from step to step, as `ahead` tells
        self._module.restart(0.0)

    @property
    def faults(self) -> Faults:
        """Faults on request: set its fields, or use `handle`."""
        self.wake()
        return self._module.faults

    def wake(self) -> None:
        """Something was changed from outside: the next step looks at everything."""
        self.due = -math.inf

    # ------------------------------------------------------------------------------------------------------- the wire
    def receive(self, now: float, frame: CanFrame) -> None:
        """A frame of somebody else is on the bus since `now` (monotonic seconds)."""
        end = self._occupy(now)
        if not self.alive(now) or self._module.faults.deaf or self._lost():
            return
        if len(self._inbox) >= RECEIVE_BUFFER:
            self.overruns += 1
            return
        self._inbox.append((end, frame))
        self._wire_due = min(self._wire_due, end)
        if end < self._acted_t and _acts(frame):
            self._acted_t = end
            self.due = min(self.due, end)

    def alive(self, now: float) -> bool:
        """Supplied and booted."""
        return now >= self._booted_t

    def _occupy(self, start: float) -> float:
        self._bus_free_t = max(start, self._bus_free_t) + self._frame_s
        return self._bus_free_t

    def _lost(self) -> bool:
        share = self._module.faults.drop_share
        return share > 0.0 and self._rng.random() < share

    def step(self, now: float, moved: bool = True) -> list[CanFrame]:
        """Advance to `now`; the frames whose last bit has left since the last call. moved: False says that its watch
        has held since the step before.

        A step in which nothing is due and nothing that it watches has moved only moves what is on the wire."""
        if now < self.due and (not moved or self.watch.holds(self._link.values)):
            return self.rest((now,))
        dt = 0.0 if self._now is None else max(0.0, now - self._now)
        self._now = now
        self._supply(now)
        module, sent = self._module, list[CanFrame]()
        if self.alive(now):
            while self._inbox and self._inbox[0][0] <= now:
                self._obey(*self._inbox.popleft())
            module.watch(now)
            self._babble(now)
            module.power_stage(dt)
        self._exchange(now, sent)
        self._plan(now)
        return sent

    def rest(self, times: Sequence[float]) -> list[CanFrame]:
        """Make up for steps that were left out, because nothing was due and what it watches had not moved: the frames
        whose last bit has left in them."""
        since, last = self._now, times[-1]
        self._now = last
        sent: list[CanFrame] = []
        if self._booted_t < math.inf:
            self._supplied_t = last
            if last >= self._booted_t:
                self._babble_t = last
                if self.ramps and since is not None:
                    self._module.follow(since, times)
                    self.ramps = self._module.ramps
                if last >= self._wire_due:
                    for now in times:
                        if now >= self._wire_due:
                            while self._inbox and self._inbox[0][0] <= now:
                                self._obey(*self._inbox.popleft())
                            self._exchange(now, sent)
        return sent

    def ahead(self, times: Sequence[float]) -> list[tuple[float, float, float]]:
        """What the plant will be given in steps at these times if they are left out: time, current (A), tan phi."""
        return [] if self._now is None else self._module.ahead(self._now, times)

    def _exchange(self, now: float, sent: list[CanFrame]) -> None:
        """From the transmit buffer onto the wire, and off its end."""
        outbox, wire, mute = self._outbox, self._wire, self._module.faults.mute
        while outbox and outbox[0][0] <= now:
            ready, frame = outbox.popleft()
            wire.append((self._occupy(ready), frame))
        while wire and wire[0][0] <= now:
            identifier, data, _, extended, error = wire.popleft()[1]
            if not mute and not self._lost():
                sent.append(CanFrame(identifier, data, now, extended, error))
        due = self._inbox[0][0] if self._inbox else math.inf
        if outbox:
            due = min(due, outbox[0][0])
        self._wire_due = min(due, wire[0][0]) if wire else due

    def _plan(self, now: float) -> None:
        """Until when a step would find nothing to do but on the wire, and the ranges for which that holds."""
        x = self._link.values
        live = x[_VA], x[_VB], x[_VC]
        if self._booted_t == math.inf:
            self.due = math.inf
            self.watch.keep(_DEAD * 3 + _OPEN + _ALL_FREE)
        elif now < self._booted_t:
            self.due = self._booted_t
            highest = live.index(max(live))
            phases = [(SUPPLY_V, math.inf) if k == highest else FREE for k in range(3)]
            self.watch.keep((*phases[0], *phases[1], *phases[2], *_CLOSED, *_ALL_FREE))
        else:
            self._acted_t = next((end for end, frame in self._inbox if _acts(frame)), math.inf)
            due, (low_v, high_v), rest = self._module.rest()
            self.due = min(due, self._acted_t)
            phase = max(low_v, SUPPLY_V), high_v
            self.watch.keep((*phase, *phase, *phase, *_CLOSED, *rest))
        if self._reset_asked is not None:
            self.due = -math.inf
        self.ramps = self._module.ramps

    def _send(self, t: float, frame: CanFrame) -> None:
        if len(self._outbox) >= TRANSMIT_BUFFER:
            self.overruns += 1
            return
        ready = t + self._rng.uniform(*REPLY_S) + self._module.faults.delay_s
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
        self._acted_t = math.inf
        self._outbox.clear()
        self._wire.clear()

    # --------------------------------------------------------------------------------------------------------- frames
    def _obey(self, t: float, frame: CanFrame) -> None:
        """A request whose last bit arrived at t."""
        identifier, data, _, extended, broken = frame
        error, device, command, destination, source = codec.split_id(identifier)
        mine = destination == self.address or destination == codec.BROADCAST
        if not mine or error or not extended or broken or len(data) != 8:
            return
        if device not in (codec.DEVICE_MODULE, codec.DEVICE_GROUP) or command not in (codec.READ, codec.WRITE):
            return
        self._module.heard_t = t
        selector = data[0] << 8 | data[1]
        if command == codec.READ:
            self._answer_read(t, selector, source)
            return
        decoded = codec.decode_write(data)
        if selector not in codec.WRITE_FIELDS:
            refusal = codec.ERROR_COMMAND
        elif decoded is None:
            refusal = codec.ERROR_DATA
        else:
            refusal = self._module.write(t, codec.WRITE_FIELDS[selector].name, decoded[1])
        if selector == WORKING_MODE and self._module.faults.ignore_mode == "silent":
            return
        if self._module.faults.drop_echoes > 0:
            self._module.faults.drop_echoes -= 1
            return
        self._reply(t, codec.WRITE, source, data, refusal)

    def _answer_read(self, t: float, selector: int, source: int) -> None:
        value = self._module.read(selector)
        if value is None:
            payload = selector.to_bytes(2, "big") + bytes(6)
            self._reply(t, codec.READ, source, payload, codec.ERROR_COMMAND)
            return
        entry = codec.READ_FIELDS[selector]
        payload = codec.encode_reply(selector, value)
        self._reply(t, codec.READ, source, payload, 0)
        if self._module.faults.id_clash:
            other = 0.0 if value > 1.0 else 1.0
            other = min(max(other + self._rng.random(), entry.minimum), entry.maximum)
            self._reply(t, codec.READ, source, codec.encode_reply(selector, other), 0)

    def _reply(self, t: float, command: int, to: int, payload: bytes, error: int) -> None:
        error = self._module.faults.error_code or error
        frame = CanFrame(codec.make_id(command, to, self.address, error=error), payload)
        if self._module.faults.corrupt_share > 0.0 and self._rng.random() < self._module.faults.corrupt_share:
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
        if self._module.faults.babble_hz <= 0.0:
            self._babble_t = now
            return
        while self._babble_t <= now:
            self._babble_t += 1.0 / self._module.faults.babble_hz
            if self._rng.random() < 0.5:
                identifier = self._rng.getrandbits(29)
            else:
                identifier = codec.make_id(self._rng.choice((codec.READ, codec.WRITE)), 0xF0, self.address)
            self._send(now, CanFrame(identifier, self._rng.randbytes(8)))

    # --------------------------------------------------------------------------------------------------------- faults
    def reset(self, boot_s: float | None = None) -> None:
        """Restart at the next step; silent for boot_s seconds (default: as after power-up)."""
        self._reset_asked = self._rng.uniform(*self._boot_s) if boot_s is None else boot_s
        self.wake()

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
            self.wake()
        if "reset" in checked:
            seconds = checked.pop("reset")
            self.reset(None if seconds is True else float(seconds))
        for name, value in checked.items():
            setattr(self.faults, name, value)


def _acts(frame: CanFrame) -> bool:
    """A request that is more than a question about what the module has measured or keeps."""
    return (frame.id >> 16 & 0x3F) == codec.WRITE or frame.data[:2] in LIVE


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
