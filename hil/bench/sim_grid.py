"""The grid of the simulated bench: a source with declared limits like a real one, playing what was compiled for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hil.bench.profile import (
    Compiled,
    GridCaps,
    GridPoint,
    Harmonics,
    ProfileError,
    Segment,
    Volts,
    check_point,
    compile_profile,
)
from hil.bench.roles import BenchError, GridReading
from hil.plant.grid_source import GridSource, Shape
from hil.sim import Sim

# The simulated source: a regenerative source of the usual kind, not a better one. Own choice of numbers, on the slow
# side of what such instruments' list modes do (1 ms dwell, 100 points; see hil/bench/instruments). An angle for each
# phase and harmonics are common in sources with three independent outputs, and what the plant resolves (order 13).
SIM_GRID = GridCaps(
    v_max_v=300.0, f_range_hz=(45.0, 66.0), v_slew_v_s=200_000.0, f_slew_hz_s=1000.0, v_step_v=0.1, f_step_hz=0.01,
    t_step_s=0.001, t_min_s=0.001, phase_jump=True, phase_step_deg=0.1, phase_each=True, harmonics_max=13,
    points_max=100, regen_w=30_000.0,
)  # fmt: skip


class PlayedSource(GridSource):
    """Plays compiled profiles, and keeps what it gave last: the record that t0 is read from."""

    def __init__(self, point: GridPoint) -> None:
        super().__init__()
        self.steady = point
        self.playing: Compiled | None = None
        self.fired_s = 0.0
        self.live = True
        self.turned_deg = 0.0
        self.apart_deg: Volts = (0.0, 0.0, 0.0)
        self.given: tuple[Volts, float, float] = (point.v_v, point.f_hz, 0.0)

    def still(self, t_s: float) -> bool:
        return self.playing is None or self.playing.rests(self.t_s - self.fired_s, t_s - self.fired_s)

    def sample(self, t_s: float) -> tuple[Volts, float, float]:
        self.t_s = t_s
        v, f_hz, turned = self.steady.v_v, self.steady.f_hz, 0.0
        if self.playing is not None:
            v, f_hz, turned = self.playing.at(t_s - self.fired_s)
        if not self.live:
            v, f_hz = (0.0, 0.0, 0.0), self.steady.f_hz
        turned += self.turned_deg
        self.given = v, f_hz, turned
        return v, f_hz, math.radians(turned)

    def formed(self, t_s: float) -> tuple[Volts, Harmonics]:
        """Degrees by which each phase is apart from its place, and harmonics, at plant time t_s."""
        if self.playing is None:
            return self.apart_deg, ()
        moved, harmonics = self.playing.shape_at(t_s - self.fired_s)
        a, b, c = (x + y for x, y in zip(self.apart_deg, moved, strict=True))
        return (a, b, c), harmonics

    def shape(self, t_s: float) -> Shape | None:
        apart, harmonics = self.formed(t_s)
        if not harmonics and max(apart) - min(apart) < 1e-9 and abs(apart[0]) < 1e-9:
            return None
        a, b, c = (math.radians(x) for x in apart)
        return Shape((a, b, c), tuple((order, share, math.radians(deg)) for order, share, deg in harmonics))

    def settle(self, point: GridPoint | None = None) -> None:
        """End the profile where it is (or at `point`)."""
        if self.playing is not None:
            v, f_hz, turned = self.playing.at(self.t_s - self.fired_s)
            self.apart_deg = self.formed(self.t_s)[0]
            self.steady, self.turned_deg, self.playing = GridPoint(v, f_hz), self.turned_deg + turned, None
        if point is not None:
            self.steady, self.apart_deg = point, (0.0, 0.0, 0.0)


class SimGrid:
    def __init__(self, sim: Sim, source: PlayedSource, caps: GridCaps) -> None:
        self.caps = caps
        self._sim, self._source = sim, source
        self._loaded: Compiled | None = None
        self._armed = False

    def output(self, on: bool) -> None:
        self.abort()
        self._source.live = on

    def steady(self, point: GridPoint) -> None:
        try:
            check_point(point, self.caps)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        self.abort()
        self._source.settle(point)

    def load(self, profile: Sequence[Segment]) -> Compiled:
        self.abort()
        try:
            self._loaded = compile_profile(profile, self.caps, self._source.steady)
        except ProfileError as error:
            raise BenchError(f"grid: {error}") from None
        return self._loaded

    def arm(self) -> None:
        if self._loaded is None:
            raise BenchError("grid: there is no profile to arm; load one first")
        self._armed = True

    def fire(self) -> None:
        if not self._armed or self._loaded is None:
            raise BenchError("grid: the profile is not armed")
        source = self._source
        source.settle()
        source.playing, source.fired_s = self._loaded, self._sim.now
        self._loaded, self._armed = None, False

    def abort(self) -> None:
        self._source.settle()
        self._loaded, self._armed = None, False

    def playing(self) -> bool:
        playing = self._source.playing
        return playing is not None and self._sim.now - self._source.fired_s < playing.length_s

    def read(self) -> GridReading:
        v, f_hz, _ = self._source.given
        return GridReading(v, f_hz, None, -self._sim.link.ac_p_w)

    def off(self) -> None:
        self.output(False)
