"""The rig's list of faults: every one makes commands that the rig takes, and nothing out of range gets through."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.devices.beg_module import Faults as ConverterFaults
from hil.devices.commands import checked
from hil.faults import Param, faults, shown
from hil.plant.link import OPERATOR
from hil.plant.process import _RULES

ALL = {fault.name: fault for fault in faults(230.0, 50.0)}


def values_of(params: tuple[Param, ...], rng: random.Random) -> dict[str, Any]:
    return {p.name: rng.choice(p.choices) if p.choices else rng.uniform(p.low, p.high) for p in params}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_inside_of_its_ranges_makes_commands_that_the_plant_and_the_devices_know(
    name: str, seed: int
) -> None:
    fault = ALL[name]
    values = {} if seed == 0 else values_of(fault.params, random.Random(seed))
    commands = fault.commands(values)
    assert commands
    for command in commands:
        if "plant" in command:
            checked("plant", _RULES, command["plant"])
            assert command["plant"].get("field", OPERATOR[0]) in OPERATOR
        elif command["device"] == "converter":
            known = {*ConverterFaults.__dataclass_fields__, "reset", "clear"}
            assert set(command) - {"device"} <= known
        else:
            assert command["device"] == "car"
            assert set(command) - {"device"} <= {"plug_in", "unplug"}


@given(st.sampled_from(sorted(ALL)), st.data())
def test_what_is_out_of_range_or_unknown_is_one_sentence(name: str, data: st.DataObject) -> None:
    fault = ALL[name]
    if not fault.params:
        with pytest.raises(ValueError, match="no parameters"):
            fault.commands({"x": 1})
        return
    param = data.draw(st.sampled_from(fault.params))
    wrong = [None, True, "x", [], {}, float("nan"), float("inf"), param.high + 1.0, param.low - 1.0]
    with pytest.raises(ValueError, match=f"^{param.name} is .*, must be "):
        fault.commands({param.name: data.draw(st.sampled_from(wrong))})


def test_a_grid_that_is_a_recording_offers_no_frequency_and_is_mended_without_one() -> None:
    recording = {fault.name: fault for fault in faults(230.0, None)}
    assert set(ALL) - set(recording) == {"frequency"}
    assert not any("f_hz" in c.get("plant", {}) for c in recording["grid_well"].commands({}))


def test_the_list_is_plain_json_and_says_what_mends() -> None:
    told = json.loads(json.dumps([shown(fault) for fault in ALL.values()]))
    assert {fault["name"] for fault in told if fault["mends"]} >= {"grid_well", "converter_well", "contactors_well"}
    assert all(fault["text"].endswith(".") for fault in told)
