"""Reactive power of the BEG: selector 2105 takes a power factor in thousandths, with a sign.

Whether + is inductive, and whether the sign turns with the mode, is unverified: taken as + = absorbs reactive power in
both modes. The lowest power factor that a module takes is unverified too.

A thousandth of a power factor is coarse where reactive power is small: 1.000, 0.999, 0.998 are tan phi 0, 0.045, 0.063.
So the power factor is chosen whose tan phi is nearest, not the one that is nearest itself.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left

from hal.can import infy_codec as codec
from hal.can.infy_registers import Register
from hal.ports import Reading

POWER_FACTOR = codec.selector_of("Wr_PowerFactor")
LEAST = 800  # thousandths; [?], own choice: no public driver goes below
STICK = 0.6  # own choice: a held step is left when the other is nearer by so much more than half of the way
CHANGE_S = 0.05  # it changes no more often: what is left of the writes belongs to the current
# By |step|: step 0 is power factor 1.000, step n is 1.000 - n/1000; the step's sign is that of tan phi.
_TANS = tuple(math.sqrt((1000.0 / pf) ** 2 - 1.0) for pf in range(1000, LEAST - 1, -1))
TAN_PHI_MAX = _TANS[-1]
_STEPS = range(LEAST - 1000, 1000 - LEAST + 1)
_PAYLOAD = {s: codec.encode_write(POWER_FACTOR, (1000 - abs(s)) / 1000.0 * (-1.0 if s < 0 else 1.0)) for s in _STEPS}
_STEP = {payload: step for step, payload in _PAYLOAD.items()}


def _tan(step: int) -> float:
    return -_TANS[-step] if step < 0 else _TANS[step]


def tan_phi_of(payload: bytes) -> float:
    """What a payload of `payload_of` asks for, + = absorbing. KeyError for any other payload."""
    return _tan(_STEP[payload])


@functools.lru_cache(maxsize=64)  # the same question in most ticks
def payload_of(tan_phi: float, held: bytes | None) -> bytes:
    """The write whose reactive power is nearest to `tan_phi` (+ = absorbing; nan counts as 0).

    held: what was written last. It stays while tan_phi lies between it and the next step and not clearly nearer to that
    one: a noisy set-point shall not write in every tick.
    """
    if math.isnan(tan_phi):
        tan_phi = 0.0
    size = min(abs(tan_phi), TAN_PHI_MAX)
    above = bisect_left(_TANS, size)
    nearest = above if above == 0 or _TANS[above] - size <= size - _TANS[above - 1] else above - 1
    step = -nearest if tan_phi < 0.0 else nearest
    before = None if held is None else _STEP[held]
    if before is not None and abs(step - before) == 1:
        target = math.copysign(size, tan_phi)
        if abs(target - _tan(before)) <= STICK * abs(_tan(step) - _tan(before)):
            step = before
    return _PAYLOAD[step]


class PowerFactor:
    """The power factor as a set-point of one module: confirmed like the others, but not needed for active power."""

    def __init__(self) -> None:
        self.register = Register()
        self._confirmed: tuple[bytes, Reading[float]] | None = None
        self.new_start()
        self._changed_t = -math.inf

    def new_start(self) -> None:
        """An off: the next start tries again."""
        self._taken = False
        self.refused = False  # written in vain since the last off

    def echo(self, now: float, payload: bytes) -> None:
        self._taken |= self.register.echo(now, payload)

    def sent(self, now: float, payload: bytes) -> None:
        """To be told before the register is: a refresh is no change."""
        if payload != self.register.last:
            self._changed_t = now

    def set_point(self, now: float, tan_phi: float) -> bytes | None:
        """What shall be held now; None when the module does not take a power factor."""
        register = self.register
        if register.unconfirmed and not self._taken:
            self.refused = True
        if self.refused:
            return None
        if register.last is not None and now - self._changed_t < CHANGE_S:
            return register.last
        return payload_of(tan_phi, register.last)

    @property
    def lost(self) -> bool:
        """It was taken, and is not confirmed any more."""
        return self._taken and self.register.unconfirmed

    @property
    def confirmed(self) -> Reading[float] | None:
        """tan phi that the module has confirmed last."""
        acked, t = self.register.acked, self.register.acked_t
        if acked is None:
            return None
        told = self._confirmed
        if told is None or told[1].t != t or told[0] != acked:
            told = self._confirmed = (acked, Reading(tan_phi_of(acked), t))
        return told[1]
