"""Numbers as ISO 15118 and DIN 70121 carry them: a 16-bit integer and a power of ten.

The package cuts off digits (12.3456 becomes 12.345, -9999.9 becomes -9999). Here values are rounded, limits cut down.
"""

from __future__ import annotations

import math

_LOWEST, _HIGHEST = -2, 3  # of a hundredth to thousands; -3..3 is what PhysicalValue permits


def decimal(value: float, *, down: bool = False) -> tuple[int, int]:
    """(exponent, integer) nearest to `value` with the finest exponent that fits; `down`: never above `value`.

    Values beyond +-32 767 000 are told as that; what is no number is told as 0.
    """
    if not math.isfinite(value):
        return 0, 0
    for exponent in range(_LOWEST, _HIGHEST + 1):
        # Division by an exact power of ten where there is one; 1e-9 absorbs what binary fractions lack of a limit.
        scaled = value / 10**exponent if exponent >= 0 else value * 10**-exponent
        mantissa = math.floor(scaled + 1e-9) if down else round(scaled)
        if -32768 <= mantissa <= 32767:
            while mantissa and mantissa % 10 == 0 and exponent < 0:
                mantissa, exponent = mantissa // 10, exponent + 1
            return (exponent if mantissa else 0), mantissa
    return _HIGHEST, 32767 if value > 0 else -32767
