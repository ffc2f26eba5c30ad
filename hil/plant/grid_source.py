"""The grid that the plant hangs on: programmable, or a recording.

A source answers one question: the three phase voltages (V RMS, phase to neutral), the frequency (Hz) and the sum of
all phase jumps so far (rad) at plant time t. It can be changed while it runs; a change takes effect at the next
sample (every 0.5 ms of plant time). Sags and phase jumps lie on top of whatever the source does.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

Volts = tuple[float, float, float]
V_RANGE_V = (0.0, 400.0)  # of a source on a 230 V system, phase to neutral
F_RANGE_HZ = (30.0, 70.0)  # what the converter's PLL model can follow
GAP_MAX_S = 4.0  # longest hole in a recording that is interpolated over
TOLEDO = "toledo-2025-04-28.csv"
TOLEDO_NOMINAL_V = 46_000.0 / math.sqrt(3.0)
TOLEDO_COLLAPSE_S = 1200.0  # the recording's time at which the voltage is gone (12:33:24 local)


class Shape(NamedTuple):
    """What a source's phases have beside their magnitudes. apart_rad: how much each leads its place. harmonics: order,
    share of the phase's fundamental, angle (rad, of the harmonic at the fundamental's crest); the same in each phase,
    turned as far as the phase is."""

    apart_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    harmonics: tuple[tuple[int, float, float], ...] = ()


def _volts(value: float | Iterable[float]) -> Volts:
    three = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    if len(three) != 3 or not all(V_RANGE_V[0] <= v <= V_RANGE_V[1] for v in three):
        raise ValueError(
            f"voltage {value}: one or three numbers from {V_RANGE_V[0]:g} to {V_RANGE_V[1]:g} V are needed"
        )
    return (float(three[0]), float(three[1]), float(three[2]))


def _hertz(value: float) -> float:
    if not F_RANGE_HZ[0] <= value <= F_RANGE_HZ[1]:
        raise ValueError(f"frequency {value}: a number from {F_RANGE_HZ[0]:g} to {F_RANGE_HZ[1]:g} Hz is needed")
    return float(value)


def _seconds(value: float, what: str) -> float:
    if not (math.isfinite(value) and value >= 0.0):
        raise ValueError(f"{what} {value}: zero or more seconds are needed")
    return float(value)


class GridSource:
    """What every source can do: disturbances on top of its own course."""

    def __init__(self) -> None:
        self.t_s = 0.0  # plant time of the last sample
        self._jump_rad = 0.0
        self._sag: Volts = (1.0, 1.0, 1.0)
        self._sag_until_s = -math.inf

    def course(self, t_s: float) -> tuple[Volts, float]:
        """Voltages and frequency without disturbances."""
        raise NotImplementedError

    def sample(self, t_s: float) -> tuple[Volts, float, float]:
        """Voltages (V), frequency (Hz) and accumulated phase jumps (rad) at plant time t_s, which never goes back."""
        self.t_s = t_s
        (a, b, c), f_hz = self.course(t_s)
        if t_s < self._sag_until_s:
            a, b, c = a * self._sag[0], b * self._sag[1], c * self._sag[2]
        return (a, b, c), f_hz, self._jump_rad

    def still(self, t_s: float) -> bool:
        """True when every sample up to t_s would be the one at t_s. A source that does not know says False."""
        return False

    def shape(self, t_s: float) -> Shape | None:
        """Unbalanced angles and harmonics at t_s; None: phases 120 degrees apart, sines."""
        return None

    def jump(self, degrees: float) -> None:
        """A phase jump now, in all phases; positive advances the voltage."""
        if not -180.0 <= degrees <= 180.0:
            raise ValueError(f"phase jump {degrees}: a number from -180 to 180 degrees is needed")
        self._jump_rad += math.radians(degrees)

    def sag(self, residual_pu: float, duration_s: float = math.inf, phases: str = "abc") -> None:
        """The voltage falls to residual_pu of itself (above 1: a swell) on the phases named, for duration_s."""
        if not 0.0 <= residual_pu <= 1.5:
            raise ValueError(f"sag {residual_pu}: the residual voltage is a share from 0 to 1.5")
        if not phases or set(phases) - set("abc"):
            raise ValueError(f"phases {phases!r}: letters among a, b, c are needed")
        if duration_s <= 0.0 or math.isnan(duration_s):
            raise ValueError(f"duration_s {duration_s}: more than zero seconds are needed")
        a, b, c = (residual_pu if phase in phases else 1.0 for phase in "abc")
        self._sag = (a, b, c)
        self._sag_until_s = self.t_s + duration_s

    def end_sag(self) -> None:
        self._sag_until_s = -math.inf


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a course: go to these values (None: keep) in dt_s, as a ramp over it or as a step at its start."""

    dt_s: float
    v_v: float | Volts | None = None
    f_hz: float | None = None
    phase_deg: float = 0.0  # a jump at the start of the segment
    shape: str = "step"


class ProgrammableSource(GridSource):
    """A grid simulator: values, ramps and a schedule of segments."""

    def __init__(self, v_v: float | Volts = 230.0, f_hz: float = 50.0) -> None:
        super().__init__()
        self._v = self._v_from = _volts(v_v)
        self._f = self._f_from = _hertz(f_hz)
        self._queue: deque[Segment] = deque()
        self._segment: Segment | None = None
        self._started_s = 0.0

    def set_voltage(self, v_v: float | Volts) -> None:
        """Step to v_v at once. Ends a running schedule."""
        v = _volts(v_v)
        self._stop()
        self._v = v

    def set_frequency(self, f_hz: float) -> None:
        """Step to f_hz at once. Ends a running schedule."""
        f = _hertz(f_hz)
        self._stop()
        self._f = f

    def ramp(self, duration_s: float, v_v: float | Volts | None = None, f_hz: float | None = None) -> None:
        """Go there linearly in duration_s, starting now. Ends a running schedule."""
        self.schedule([Segment(duration_s, v_v, f_hz, shape="ramp")])

    def schedule(self, segments: Iterable[Segment]) -> None:
        """Play these segments one after another, starting now; the last values stay. Nothing changes if one is bad."""
        checked = []
        for segment in segments:
            _seconds(segment.dt_s, "dt_s")
            if segment.v_v is not None:
                _volts(segment.v_v)
            if segment.f_hz is not None:
                _hertz(segment.f_hz)
            if segment.shape not in ("step", "ramp"):
                raise ValueError(f"shape {segment.shape!r}: step or ramp is needed")
            if not -180.0 <= segment.phase_deg <= 180.0:
                raise ValueError(f"phase_deg {segment.phase_deg}: a number from -180 to 180 is needed")
            checked.append(segment)
        self._stop()
        self._started_s = self.t_s
        self._queue.extend(checked)

    def _stop(self) -> None:
        """Freeze where the course is now."""
        self._v, self._f = self.course(self.t_s)
        self._queue.clear()
        self._segment = None

    def _begin(self, segment: Segment, at_s: float) -> None:
        self._segment, self._started_s = segment, at_s
        self._v_from, self._f_from = self._v, self._f
        self._v = self._v if segment.v_v is None else _volts(segment.v_v)
        self._f = self._f if segment.f_hz is None else segment.f_hz
        self._jump_rad += math.radians(segment.phase_deg)

    def still(self, t_s: float) -> bool:
        return not self._queue and self._segment is None and self._sag_until_s <= self.t_s

    def course(self, t_s: float) -> tuple[Volts, float]:
        while True:
            segment = self._segment
            if segment is not None and t_s < self._started_s + segment.dt_s:
                break
            if not self._queue:
                self._segment = None
                return self._v, self._f
            end_s = self._started_s if segment is None else self._started_s + segment.dt_s
            self._begin(self._queue.popleft(), end_s)
        if segment.shape == "step":
            return self._v, self._f
        x = (t_s - self._started_s) / segment.dt_s
        a, b, c = (p + x * (q - p) for p, q in zip(self._v_from, self._v, strict=True))
        return (a, b, c), self._f_from + x * (self._f - self._f_from)


class ReplayedSource(GridSource):
    """A recording: columns t_s, v1_v, v2_v, v3_v, f_hz (more may follow). Linear between its rows, scaled so that
    nominal_v becomes scaled_v; before the first and after the last row their values stay.

    Rows with NaN are holes; holes up to GAP_MAX_S between good rows are interpolated over and listed in `gaps` as
    (from_s, to_s); a longer one is refused. start_s: the recording's time at plant time 0.
    """

    def __init__(
        self,
        path: Path | Traversable,
        nominal_v: float,
        *,
        start_s: float = 0.0,
        scaled_v: float = 230.0,
    ) -> None:
        """Raises ValueError with a sentence when the file is not such a table."""
        super().__init__()
        if nominal_v <= 0.0 or scaled_v <= 0.0:
            raise ValueError(f"nominal voltages must be above zero, not {nominal_v} and {scaled_v}")
        self.start_s = start_s
        self.gaps: tuple[tuple[float, float], ...] = ()
        self._t: list[float] = []
        self._rows: list[tuple[float, float, float, float]] = []
        scale = scaled_v / nominal_v
        gaps = []
        hole = False
        with path.open("r", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if number == 1 and row[:5] == ["t_s", "v1_v", "v2_v", "v3_v", "f_hz"]:
                    continue
                try:
                    t, v1, v2, v3, f = (float(cell) for cell in row[:5])
                except ValueError:
                    raise ValueError(f"{path}, line {number}: t_s,v1_v,v2_v,v3_v,f_hz as numbers are needed") from None
                if not math.isfinite(t) or (self._t and t <= self._t[-1]):
                    raise ValueError(f"{path}, line {number}: time {t} does not rise")
                if any(math.isnan(x) for x in (v1, v2, v3, f)):
                    hole = True
                    continue
                if min(v1, v2, v3) < 0.0 or not F_RANGE_HZ[0] <= f <= F_RANGE_HZ[1]:
                    raise ValueError(
                        f"{path}, line {number}: voltages must not be negative and the frequency must lie between "
                        f"{F_RANGE_HZ[0]:g} and {F_RANGE_HZ[1]:g} Hz"
                    )
                if hole and self._t:
                    if t - self._t[-1] > GAP_MAX_S + 1e-9:
                        raise ValueError(
                            f"{path}, line {number}: {t - self._t[-1]:g} s without data before it; "
                            f"at most {GAP_MAX_S:g} s are interpolated over"
                        )
                    gaps.append((self._t[-1], t))
                hole = False
                self._t.append(t)
                self._rows.append((v1 * scale, v2 * scale, v3 * scale, f))
        if len(self._t) < 2:
            raise ValueError(f"{path}: fewer than two usable rows")
        self.gaps = tuple(gaps)

    @property
    def length_s(self) -> float:
        """From start_s to the last row."""
        return self._t[-1] - self.start_s

    def course(self, t_s: float) -> tuple[Volts, float]:
        t = self._t
        at_s = t_s + self.start_s
        k = bisect_right(t, at_s)
        if k == 0 or k == len(t):
            a, b, c, f_hz = self._rows[0 if k == 0 else -1]
            return (a, b, c), f_hz
        x = (at_s - t[k - 1]) / (t[k] - t[k - 1])
        p, q = self._rows[k - 1], self._rows[k]
        return (
            (p[0] + x * (q[0] - p[0]), p[1] + x * (q[1] - p[1]), p[2] + x * (q[2] - p[2])),
            p[3] + x * (q[3] - p[3]),
        )


def toledo(start_s: float = 0.0, scaled_v: float = 230.0) -> ReplayedSource:
    """The Iberian grid of 28 April 2025 at Toledo, the last 20 minutes and what the analyser said after (hil/data)."""
    return ReplayedSource(files("hil") / "data" / TOLEDO, TOLEDO_NOMINAL_V, start_s=start_s, scaled_v=scaled_v)
