"""What every GridEmulator must do (obligations in hil/bench/roles.py). Each driver inherits these tests and supplies
the fixture `rig`: the driver, and a way to let time pass on its side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from hil.bench.profile import GridPoint, Segment
from hil.bench.roles import BenchError, GridEmulator

NOMINAL = GridPoint((230.0, 230.0, 230.0), 50.0)
SAG = [Segment(0.1, "hold"), Segment(0.3, "step", (46.0, 230.0, 230.0)), Segment(0.2, "ramp", 230.0, 51.0)]


@dataclass
class Rig:
    grid: GridEmulator
    advance: Callable[[float], None]  # seconds


class GridConformance:
    plays = True  # it can play profiles

    @pytest.fixture
    def live(self, rig: Rig) -> Rig:
        rig.grid.steady(NOMINAL)
        rig.grid.output(True)
        rig.advance(0.5)
        return rig

    def test_it_stands_where_it_was_told(self, live: Rig) -> None:
        reading = live.grid.read()
        assert reading.v_v == pytest.approx(NOMINAL.v_v, abs=0.5)
        assert reading.f_hz == pytest.approx(50.0, abs=0.05)

    def test_phases_stand_apart(self, live: Rig) -> None:
        live.grid.steady(GridPoint((230.0, 100.0, 240.0), 49.5))
        live.advance(0.5)
        assert live.grid.read().v_v == pytest.approx((230.0, 100.0, 240.0), abs=0.5)

    @pytest.mark.parametrize(
        "point",
        [
            replace(NOMINAL, v_v=(1e4, 230.0, 230.0)),
            replace(NOMINAL, v_v=(230.0, -1.0, 230.0)),
            replace(NOMINAL, v_v=(230.0, float("nan"), 230.0)),
            replace(NOMINAL, f_hz=400.0),
            replace(NOMINAL, f_hz=float("nan")),
        ],
    )
    def test_1_a_point_outside_of_its_range_is_refused_and_changes_nothing(self, live: Rig, point: GridPoint) -> None:
        with pytest.raises(BenchError):
            live.grid.steady(point)
        live.advance(0.5)
        assert live.grid.read().v_v == pytest.approx(NOMINAL.v_v, abs=0.5)

    def test_2_off_is_dead_and_may_be_said_twice(self, live: Rig) -> None:
        live.grid.off()
        live.grid.off()
        live.advance(0.5)
        with contextlib.suppress(BenchError):  # an instrument that measures nothing says so
            assert max(live.grid.read().v_v) < 1.0

    def test_4_a_profile_needs_load_arm_and_fire_in_this_order(self, live: Rig) -> None:
        with pytest.raises(BenchError):
            live.grid.arm()
        with pytest.raises(BenchError):
            live.grid.fire()
        if not self.plays:
            with pytest.raises(BenchError, match="plays no profile"):
                live.grid.load(SAG)
            return
        live.grid.load(SAG)
        with pytest.raises(BenchError):
            live.grid.fire()

    def test_5_nothing_moves_before_fire_and_then_it_plays_what_was_compiled(self, live: Rig) -> None:
        if not self.plays:
            return
        compiled = live.grid.load(SAG)
        live.grid.arm()
        live.advance(1.0)
        assert live.grid.read().v_v == pytest.approx(NOMINAL.v_v, abs=0.5)
        assert not live.grid.playing()
        live.grid.fire()
        t = 0.0
        while t < compiled.length_s:
            live.advance(0.04)
            t += 0.04
            if min(abs(t - edge) for edge in (0.1, 0.4, 0.6)) < 0.005:
                continue  # right at an edge both sides are right
            volts, hertz, _ = compiled.at(t)
            reading = live.grid.read()
            assert reading.v_v == pytest.approx(volts, abs=1.0), t
            assert reading.f_hz == pytest.approx(hertz, abs=0.05), t
        live.advance(0.1)
        assert not live.grid.playing()
        assert live.grid.read().f_hz == pytest.approx(51.0, abs=0.05)

    def test_4_abort_ends_a_profile_from_anywhere_and_another_can_follow(self, live: Rig) -> None:
        if not self.plays:
            live.grid.abort()
            return
        for wait_s in (0.0, 0.05, 0.2, 0.45):
            live.grid.steady(NOMINAL)
            live.advance(0.2)
            live.grid.load(SAG)
            live.grid.arm()
            live.grid.fire()
            live.advance(wait_s)
            live.grid.abort()
            assert not live.grid.playing()
            with pytest.raises(BenchError):
                live.grid.fire()

    def test_1_a_profile_that_it_cannot_play_is_refused_and_nothing_plays(self, live: Rig) -> None:
        bad = [Segment(0.1, "step", 1e4)]
        too_many = [Segment(0.01, "step", 230.0 + k % 2) for k in range(2000)]
        harmonic = [Segment(0.1, "step", harmonics=((49, 0.05, 0.0),))]
        for profile in ([], bad, too_many, harmonic, [Segment(1e-9, "hold")]):
            with pytest.raises(BenchError):
                live.grid.load(profile)
            with pytest.raises(BenchError):
                live.grid.arm()
        assert live.grid.read().v_v == pytest.approx(NOMINAL.v_v, abs=0.5)
