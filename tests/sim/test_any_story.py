"""Hypothesis makes up short stories of grid, car, device faults and wishes; the plant must stay inside of its rules.

The rules look at the plant alone and know nothing of what guard thinks:

1. no current while the grid contactor is open;
2. the DC contactor never opens above 5 A: whatever opens it has stopped the converter some milliseconds before;
3. no discharge more than 0.2 s after the PCC fell below 0.4 pu (IEEE 1547: 83 ms, plus the slower of two sources);
4. the converter's voltage never exceeds the car's maximum + 25 V while it is connected to the battery.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from firmware.guard import numbers as n
from hil.sim import Sim
from tests.sim.rig import Sample, Scope, ask, transfer

LOW_PU, CEASED_S = 0.4, 0.2
Act = tuple[str, Callable[[Sim], None]]


def act(name: str, what: Callable[[Sim], None]) -> Act:
    return name, what


def converter(**fault: object) -> Act:
    return act(f"converter {fault}", lambda sim: sim.converter.handle(fault))


def pilot(**fault: object) -> Act:
    return act(f"pilot {fault}", lambda sim: sim.pilot.handle(fault))


def link(name: str, value: float) -> Act:
    return act(f"{name}={value}", lambda sim: setattr(sim.link, name, value))


def alive(who: str, yes: bool) -> Act:
    """services or guard."""
    return act(
        f"{who} {yes}",
        lambda sim: setattr(sim, "guard_alive", yes) if who == "guard" else setattr(sim.services, "alive", yes),
    )


powers = st.sampled_from([-22_000.0, -10_000.0, -1_000.0, 0.0, 1_000.0, 10_000.0, 22_000.0])
phases = st.sampled_from(["abc", "abc", "a", "b", "c"])
acts = st.one_of(
    powers.map(lambda p: act(f"ask {p}", lambda sim: ask(sim, p))),
    st.tuples(
        st.sampled_from([0.0, 0.2, 0.45, 0.6, 0.85, 1.15, 1.25]), st.sampled_from([0.05, 0.3, 1.2, 9.0]), phases
    ).map(lambda x: act(f"sag {x}", lambda sim: sim.source.sag(x[0], x[1], x[2]))),
    st.sampled_from([55.0, 58.0, 60.0, 61.5, 63.0]).map(
        lambda f: act(f"{f} Hz", lambda sim: sim.source.ramp(0.5, f_hz=f))
    ),
    st.sampled_from([-60.0, -20.0, 20.0, 60.0]).map(lambda d: act(f"jump {d}", lambda sim: sim.source.jump(d))),
    st.sampled_from(
        [
            act("car stops", lambda sim: sim.car.request_stop()),
            act("car unplugged", lambda sim: sim.car.unplug()),
            act("car plugged", lambda sim: sim.car.plug_in()),
            act("car emergency", lambda sim: sim.car.emergency("a story")),
            act("car limits", lambda sim: sim.car.handle({"limits": [8.0, 5.0]})),
            act("car mute", lambda sim: sim.car.handle({"mute": True})),
            act("operator stops", lambda sim: sim.operator("stop")),
            act("operator starts", lambda sim: sim.operator("start")),
            act("lease ends", lambda sim: setattr(sim.wish, "alive", False)),
            act("lease again", lambda sim: setattr(sim.wish, "alive", True)),
            alive("services", False),
            alive("services", True),
            alive("guard", False),
            alive("guard", True),
            converter(mute=True),
            converter(deaf=True),
            converter(drop_echoes=3),
            converter(drop_share=0.3),
            converter(freeze=True),
            converter(ignore_mode="echo"),
            converter(ignore_mode="silent"),
            converter(ignore_off=True),
            converter(reset=0.05),
            converter(status_bits=["St_Fault"]),
            converter(clear=True),
            pilot(mute=True),
            pilot(deaf=True),
            pilot(mute=False, deaf=False, freeze_grid=False, stop_sequence=False),
            pilot(corrupt_next=30),
            pilot(stop_sequence=True),
            pilot(reboot=True),
            link("estop", 1.0),
            link("estop", 0.0),
            link("leak_ohm", 50e3),
            link("weld_dc", 1.0),
            link("weld_grid", 1.0),
            link("grid_switch_open", 1.0),
            link("grid_switch_open", 0.0),
        ]
    ),
)
stories = st.lists(st.tuples(acts, st.sampled_from([0.02, 0.1, 0.5, 1.5])), min_size=2, max_size=7)


def check(sim: Sim, samples: list[Sample]) -> None:
    low_since = math.inf
    for a, b in itertools.pairwise(samples):
        if not a.k_grid and not b.k_grid:
            assert b.ac_a < 0.5, f"{b.ac_a:.1f} A at the PCC with the grid contactor open at {b.t:.3f}"
        low_since = min(low_since, b.t) if b.v_pu < LOW_PU else math.inf
        if b.t - low_since > CEASED_S:
            assert b.dc_a > -1.0, f"discharging {b.dc_a:.1f} A into {b.v_pu:.2f} pu since {low_since:.3f} at {b.t:.3f}"
        if b.k_ev and b.k_dc:
            assert b.v_dc_v < sim.car.v_max_v + 25.0, f"{b.v_dc_v:.0f} V on the car at {b.t:.3f}"
        if a.k_dc and not b.k_dc:
            assert abs(a.cable_a) < n.OPEN_CURRENT_A, f"the DC contactor opened at {a.cable_a:.1f} A at {b.t:.3f}"


def play(power_w: float, story: list[tuple[Act, float]], rest_s: float) -> None:
    note(f"{power_w} W, then {', '.join(f'{name} for {for_s} s' for (name, _), for_s in story)}")
    sim = transfer(power_w)
    samples: list[Sample] = []
    for (_, what), for_s in story:
        what(sim)
        samples += Scope(sim, for_s).samples
    samples += Scope(sim, rest_s).samples
    check(sim, samples)


# No shrinking: an example takes a second, and its note says what happened.
few = settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
# As all properties: tests/conftest.py.
many = settings(few, max_examples=60, derandomize=settings.default.derandomize)  # type: ignore[union-attr]


SAG = act("sag 0.2 pu", lambda sim: sim.source.sag(0.2))
CRASH = act("car opens", lambda sim: sim.car._open_contactor())


@few
@example(-10_000.0, [(SAG, 1.0), (alive("guard", False), 1.0)])
@example(-10_000.0, [(pilot(stop_sequence=True), 0.1), (SAG, 1.0)])
@example(-10_000.0, [(converter(ignore_off=True), 0.1), (link("estop", 1.0), 0.5)])
@example(10_000.0, [(alive("guard", False), 1.0), (alive("guard", True), 1.0)])
@example(10_000.0, [(CRASH, 0.5)])
@given(st.sampled_from([-10_000.0, 10_000.0]), stories)
def test_no_short_story_breaks_a_rule_of_the_plant(power_w: float, story: list[tuple[Act, float]]) -> None:
    play(power_w, story, 2.0)


@pytest.mark.slow
@many
@given(st.sampled_from([-20_000.0, -10_000.0, 0.0, 10_000.0, 20_000.0]), stories)
def test_no_story_breaks_a_rule_of_the_plant(power_w: float, story: list[tuple[Act, float]]) -> None:
    play(power_w, story, 4.0)
