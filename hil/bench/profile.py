"""A course of the grid, and its compilation for what a source can really play.

A test writes a profile: segments that hold, step, ramp or jump. `compile_profile` turns it into points for one source,
within that source's declared capabilities: range, slew rate, resolution, shortest segment, phase jumps, harmonics,
number of points. What the source cannot do is refused with a sentence; what it does a little differently is reported
as a deviation. The simulated source is compiled for in the same way, so that nothing passes there which a real source
cannot play.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

Volts = tuple[float, float, float]
Harmonics = tuple[tuple[int, float, float], ...]
SHAPES = ("hold", "step", "ramp", "jump")


class ProfileError(ValueError):
    """A profile that this source cannot play. The text is a sentence: which segment, what, what is possible."""


@dataclass(frozen=True, slots=True)
class GridCaps:
    """What an AC source can do. Volts are RMS, phase to neutral."""

    phases: int = 3
    per_phase: bool = True  # phases can have different voltages
    v_max_v: float = 300.0
    f_range_hz: tuple[float, float] = (45.0, 66.0)
    v_slew_v_s: float = 200_000.0
    f_slew_hz_s: float = 1000.0
    v_step_v: float = 0.1  # resolution of a set-point
    f_step_hz: float = 0.01
    t_step_s: float = 0.001  # resolution of a duration
    t_min_s: float = 0.001  # shortest segment
    phase_jump: bool = True
    phase_step_deg: float = 0.1
    phase_each: bool = False  # phases can jump apart from each other
    harmonics_max: int = 0  # highest order; 0 = a sine only
    points_max: int = 100
    ramps: bool = True  # moves linearly by itself; otherwise a ramp becomes a staircase
    p_max_w: float = 0.0  # sourcing; 0 = not stated
    regen_w: float = 0.0  # what it can take back


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the course, dt_s long. None keeps what was. hold: nothing changes; step: to the values at its start;
    ramp: linearly over the whole of it; jump: the phase angle at its start, of `jump_phases`. harmonics: (order, share,
    degrees), for this segment only."""

    dt_s: float
    shape: str = "hold"
    v_v: float | Volts | None = None
    f_hz: float | None = None
    jump_deg: float = 0.0
    harmonics: Harmonics = ()
    jump_phases: str = "abc"


@dataclass(frozen=True, slots=True)
class GridPoint:
    v_v: Volts
    f_hz: float


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of a source's list: reach these values linearly in `move_s` (0: at once), `t_s` after the start, with
    a phase jump at its beginning, and stay until `t_s + dt_s`."""

    t_s: float
    dt_s: float
    v_v: Volts
    f_hz: float
    jump_deg: float = 0.0
    move_s: float = 0.0
    turned_deg: float = 0.0  # all jumps of all phases from the start to this point, with its own
    apart_deg: Volts = (0.0, 0.0, 0.0)  # the same of single phases
    harmonics: Harmonics = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    start: GridPoint
    points: tuple[Point, ...]
    deviations: tuple[str, ...] = field(default=())

    @property
    def length_s(self) -> float:
        return self.points[-1].t_s + self.points[-1].dt_s if self.points else 0.0

    def _place(self, t_s: float) -> int:
        """Index of the point that is being played t_s after the start; -1 before the first."""
        return bisect_right(self.points, t_s, key=lambda point: point.t_s) - 1

    def rests(self, from_s: float, to_s: float) -> bool:
        """True when nothing moves between two times (s after the start)."""
        k = self._place(from_s)
        there = k < 0 or from_s - self.points[k].t_s >= self.points[k].move_s
        if k >= 0 and self.points[k].harmonics and from_s < self.points[k].t_s + self.points[k].dt_s <= to_s:
            return False  # they end with their segment
        return there and (k + 1 == len(self.points) or to_s < self.points[k + 1].t_s)

    def shape_at(self, t_s: float) -> tuple[Volts, Harmonics]:
        """How far each phase is turned apart from the others (deg), and the harmonics."""
        k = self._place(t_s)
        if k < 0:
            return (0.0, 0.0, 0.0), ()
        p = self.points[k]
        return p.apart_deg, p.harmonics if t_s < p.t_s + p.dt_s else ()

    def at(self, t_s: float) -> tuple[Volts, float, float]:
        """Volts, hertz and degrees of all jumps so far, t_s after the start: what the source should be doing then."""
        k = self._place(t_s)
        if k < 0:
            return self.start.v_v, self.start.f_hz, 0.0
        p = self.points[k]
        if t_s - p.t_s >= p.move_s:
            return p.v_v, p.f_hz, p.turned_deg
        was: GridPoint | Point = self.points[k - 1] if k else self.start
        x = (t_s - p.t_s) / p.move_s
        a, b, c = (q + x * (r - q) for q, r in zip(was.v_v, p.v_v, strict=True))
        return (a, b, c), was.f_hz + x * (p.f_hz - was.f_hz), p.turned_deg


def three(v: float | Sequence[float]) -> Volts:
    values = (v, v, v) if isinstance(v, int | float) else tuple(v)
    if len(values) != 3:
        raise ProfileError(f"voltage {v}: one number or three are needed")
    return (float(values[0]), float(values[1]), float(values[2]))


def check_point(point: GridPoint, caps: GridCaps, where: str = "set-point") -> None:
    """Raises ProfileError when the source cannot stand there."""
    for v in point.v_v:
        if not (math.isfinite(v) and 0.0 <= v <= caps.v_max_v):
            raise ProfileError(f"{where}: {v:g} V is asked for; this source gives 0 to {caps.v_max_v:g} V per phase")
    if not caps.per_phase and max(point.v_v) - min(point.v_v) > caps.v_step_v / 2.0:
        raise ProfileError(f"{where}: the phases differ; this source sets all of them together")
    low, high = caps.f_range_hz
    if not (math.isfinite(point.f_hz) and low <= point.f_hz <= high):
        raise ProfileError(f"{where}: {point.f_hz:g} Hz is asked for; this source gives {low:g} to {high:g} Hz")


def _near(value: float, step: float) -> float:
    return round(value / step) * step if step > 0.0 else value


class _Compiler:
    def __init__(self, caps: GridCaps, start: GridPoint) -> None:
        self.caps = caps
        self.here = start
        self.t_s = 0.0
        self.points: list[Point] = []
        self.deviations: list[str] = []

    def rounded(self, where: str, v: Volts, f_hz: float) -> GridPoint:
        caps = self.caps
        a, b, c = (_near(x, caps.v_step_v) for x in v)
        point = GridPoint((a, b, c), _near(f_hz, caps.f_step_hz))
        off_v = max(abs(x - y) for x, y in zip(v, point.v_v, strict=True))
        if off_v > 1e-6 or abs(point.f_hz - f_hz) > 1e-9:
            self.deviations.append(f"{where}: off by {off_v:.3g} V and {abs(point.f_hz - f_hz):.3g} Hz (resolution)")
        return point

    def segment(self, number: int, s: Segment) -> None:
        caps, where = self.caps, f"segment {number}"
        if s.shape not in SHAPES:
            raise ProfileError(f"{where}: shape {s.shape!r} must be one of {', '.join(SHAPES)}")
        if not math.isfinite(s.dt_s) or s.dt_s < caps.t_min_s - 1e-12:
            raise ProfileError(f"{where}: {s.dt_s:g} s is shorter than this source's shortest, {caps.t_min_s:g} s")
        dt_s = _near(s.dt_s, caps.t_step_s)
        if abs(dt_s - s.dt_s) > 1e-9:
            self.deviations.append(f"{where}: lasts {dt_s:g} s instead of {s.dt_s:g} s (resolution)")
        if s.shape == "hold" and (s.v_v is not None or s.f_hz is not None):
            raise ProfileError(f"{where}: a hold changes nothing; use step or ramp for new values")
        if s.shape == "jump" and not s.jump_deg:
            raise ProfileError(f"{where}: a jump needs jump_deg")
        self._harmonics(where, s)
        jump_deg = self._jump(where, s)
        here = self.here
        target = self.rounded(
            where, here.v_v if s.v_v is None else three(s.v_v), here.f_hz if s.f_hz is None else s.f_hz
        )
        check_point(target, caps, where)
        if s.shape == "ramp":
            self._ramp(where, target, dt_s, s, jump_deg)
        else:
            self._step(where, target, dt_s, s, jump_deg)
        self.here = target

    def _harmonics(self, where: str, s: Segment) -> None:
        for order, _share, _deg in s.harmonics:
            if order > self.caps.harmonics_max:
                what = f"up to order {self.caps.harmonics_max}" if self.caps.harmonics_max else "only a sine"
                raise ProfileError(f"{where}: harmonic {order} is asked for; this source plays {what}")

    def _jump(self, where: str, s: Segment) -> float:
        if not s.jump_deg:
            return 0.0
        if not self.caps.phase_jump:
            raise ProfileError(f"{where}: a phase jump is asked for; this source cannot jump")
        if not s.jump_phases or not set(s.jump_phases) <= set("abc"):
            raise ProfileError(f"{where}: the phases that jump are {s.jump_phases!r}; letters among a, b, c are needed")
        if set(s.jump_phases) != set("abc") and not self.caps.phase_each:
            raise ProfileError(f"{where}: phase {s.jump_phases} jumps alone; this source turns all phases together")
        if not -180.0 <= s.jump_deg <= 180.0:
            raise ProfileError(f"{where}: a jump of {s.jump_deg:g} degrees; -180 to 180 are possible")
        jump = _near(s.jump_deg, self.caps.phase_step_deg)
        if abs(jump - s.jump_deg) > 1e-9:
            self.deviations.append(f"{where}: jumps {jump:g} degrees instead of {s.jump_deg:g} (resolution)")
        return jump

    def _needed_s(self, target: GridPoint) -> float:
        """How long the fastest move there takes."""
        dv = max(abs(a - b) for a, b in zip(self.here.v_v, target.v_v, strict=True))
        return max(dv / self.caps.v_slew_v_s, abs(self.here.f_hz - target.f_hz) / self.caps.f_slew_hz_s)

    def _step(self, where: str, target: GridPoint, dt_s: float, s: Segment, jump_deg: float) -> None:
        needed_s = self._needed_s(target)
        if needed_s > dt_s + 1e-12:
            raise ProfileError(
                f"{where}: this source needs {needed_s * 1000:.3g} ms for the step; the segment lasts "
                f"{dt_s * 1000:g} ms"
            )
        if needed_s > 1e-4:
            self.deviations.append(f"{where}: the step takes {needed_s * 1000:.3g} ms (slew rate)")
        self._add(dt_s, target, s, jump_deg, needed_s)

    def _ramp(self, where: str, target: GridPoint, dt_s: float, s: Segment, jump_deg: float) -> None:
        needed_s = self._needed_s(target)
        if needed_s > dt_s + 1e-12:
            raise ProfileError(f"{where}: this source needs {needed_s:.3g} s for the ramp, {dt_s:g} s are asked for")
        if self.caps.ramps:
            self._add(dt_s, target, s, jump_deg, dt_s)
            return
        here, caps = self.here, self.caps
        dv = max(abs(a - b) for a, b in zip(here.v_v, target.v_v, strict=True))
        finest = max(dv / caps.v_step_v, abs(here.f_hz - target.f_hz) / caps.f_step_hz, 1.0)
        room = caps.points_max - len(self.points)
        count = int(min(finest, dt_s / caps.t_min_s + 1e-9, max(room, 1)))
        stair_s = _near(dt_s / count, caps.t_step_s)
        if stair_s < caps.t_min_s - 1e-12 or stair_s * (count - 1) >= dt_s:
            raise ProfileError(f"{where}: a ramp of {dt_s:g} s cannot be made of steps of {caps.t_min_s:g} s")
        self.deviations.append(
            f"{where}: a staircase of {count} steps of {dv / count:.3g} V and "
            f"{abs(here.f_hz - target.f_hz) / count:.3g} Hz instead of a ramp"
        )
        for k in range(1, count + 1):
            x = k / count
            a, b, c = (_near(p + x * (q - p), caps.v_step_v) for p, q in zip(here.v_v, target.v_v, strict=True))
            point = GridPoint((a, b, c), _near(here.f_hz + x * (target.f_hz - here.f_hz), caps.f_step_hz))
            last_s = dt_s - stair_s * (count - 1)
            self._add(last_s if k == count else stair_s, point, s, jump_deg if k == 1 else 0.0, 0.0)

    def _add(self, dt_s: float, target: GridPoint, s: Segment, jump_deg: float, move_s: float) -> None:
        last = self.points[-1] if self.points else None
        turned, apart = (last.turned_deg, last.apart_deg) if last else (0.0, (0.0, 0.0, 0.0))
        if set(s.jump_phases) == set("abc"):
            turned += jump_deg
        else:
            a, b, c = (x + (jump_deg if name in s.jump_phases else 0.0) for x, name in zip(apart, "abc", strict=True))
            apart = (a, b, c)
        self.points.append(Point(self.t_s, dt_s, target.v_v, target.f_hz, jump_deg, move_s, turned, apart, s.harmonics))
        self.t_s += dt_s


def compile_profile(profile: Sequence[Segment], caps: GridCaps, start: GridPoint) -> Compiled:
    """Points for a source that stands at `start`. Raises ProfileError when it cannot play the profile."""
    if not profile:
        raise ProfileError("a profile needs at least one segment")
    check_point(start, caps, "start")
    compiler = _Compiler(caps, start)
    for number, segment in enumerate(profile, 1):
        compiler.segment(number, segment)
    if len(compiler.points) > caps.points_max:
        raise ProfileError(f"the profile needs {len(compiler.points)} points; this source has {caps.points_max}")
    return Compiled(start, tuple(compiler.points), tuple(compiler.deviations))
