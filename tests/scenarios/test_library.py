"""The library passes; and it can fail: broken chargers and altered demands are told as FAIL, each by its scenario."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hil.bench.sim import SimBench
from hil.scenarios.campaign import run_simulated, spec_of
from hil.scenarios.play import Result, run
from hil.scenarios.schema import Scenario, library, load
from hil.scenarios.verdict import Band, Must, Verdict
from hil.sim import Sim

ALL = {scenario.name: scenario for path in library() for scenario in load(path)}
SLICE = ("grid_swell_trip[b_125]", "can_lost[mute]", "pilot_cp[diode]")


def play(scenario: Scenario, bend: Callable[[Sim], None] | None = None) -> Result:
    return run(scenario, lambda _: SimBench(spec_of(scenario, bend=bend)))


def complaint(result: Result) -> str:
    bad = [f"{o.verdict.value}: {o.what}: {o.found}" for o in result.outcomes if o.verdict is not Verdict.PASS]
    return "\n".join([result.error, *bad])


@pytest.mark.parametrize("name", SLICE)
def test_a_slice_of_the_library_passes(name: str) -> None:
    result = play(ALL[name])
    assert result.verdict is Verdict.PASS, complaint(result)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ALL) - set(SLICE)))
def test_the_whole_library_passes(name: str) -> None:
    result = play(ALL[name])
    assert result.verdict is Verdict.PASS, complaint(result)


def test_the_library_has_its_size_and_every_demand_its_reason() -> None:
    assert len(ALL) >= 60
    assert len({path.stem for path in library()}) >= 60
    for scenario in ALL.values():
        assert scenario.tags, scenario.name
        assert scenario.title.strip(), scenario.name
        assert all(must.because.strip() for must in scenario.musts), scenario.name
        # At least one demand that a charger can break even if it does nothing at all or never stops.
        assert any(must.kind != "never_state" for must in scenario.musts), scenario.name


# ------------------------------------------------------------------------------------------------------ broken chargers
def blind(*codes: str) -> Callable[[Sim], None]:
    """A charger that does not see these conditions."""

    def bend(sim: Sim) -> None:
        conditions = sim.guard.conditions
        seen = conditions.present

        def present(*args: object, **kwargs: object) -> dict[str, str]:
            found = seen(*args, **kwargs)  # type: ignore[arg-type]
            return {code: detail for code, detail in found.items() if code not in codes}

        conditions.present = present  # type: ignore[method-assign,assignment]

    return bend


def slow_gate(ticks: int) -> Callable[[Sim], None]:
    """A charger whose every command to the converter and the coils is so many ticks old."""

    def bend(sim: Sim) -> None:
        send, step = sim.serial.send, sim.loop.converter.command
        waiting: list[bytes] = []
        commands: list[object] = []

        def late(data: bytes) -> bool:
            waiting.append(data)
            return send(waiting.pop(0)) if len(waiting) > ticks else True

        def command(now: float, wanted: object) -> object:
            commands.append(wanted)
            return step(now, commands.pop(0) if len(commands) > ticks else commands[0])  # type: ignore[arg-type]

        sim.serial.send = late  # type: ignore[method-assign]
        sim.loop.converter.command = command  # type: ignore[method-assign,assignment]

    return bend


def deaf_to_one_phase(phase: int) -> Callable[[Sim], None]:
    """A charger that takes this phase's voltage from another one, in both of its measurements."""

    def bend(sim: Sim) -> None:
        protection = sim.guard.protection
        step = protection.step

        def one_eye(now: float, pilot: list, converter: list, **more: object) -> object:  # type: ignore[type-arg]
            def cover(samples: list) -> list:  # type: ignore[type-arg]
                other = (phase + 1) % 3
                seen = []
                for sample in samples:
                    volts = list(sample.v_pu)
                    volts[phase] = volts[other]
                    seen.append(
                        replace(sample, v_pu=tuple(volts))
                        if hasattr(sample, "__dataclass_fields__")
                        else sample._replace(v_pu=tuple(volts))
                    )
                return seen

            return step(now, cover(pilot), cover(converter), **more)  # type: ignore[arg-type]

        protection.step = one_eye  # type: ignore[method-assign,assignment]

    return bend


BROKEN = [
    ("can_lost[mute]", blind("converter_lost", "converter_no_echo")),
    ("can_id_clash", blind("converter_id_clash")),
    ("pilot_cp[diode]", blind("pilot_diode_fault")),
    ("estop[charging]", blind("pilot_estop")),
    ("connector_hot", blind("pilot_temperature")),
    ("car_silent", blind("car_lost")),
    ("car_opens_discharging", blind("car_disconnected")),
    ("imd_lost[device]", blind("insulation_device", "insulation_lost")),
    ("converter_runs_backwards", blind("converter_wrong_direction", "converter_current", "dc_disagree")),
    ("grid_swell_trip[b_125]", slow_gate(15)),
    ("grid_frequency_trip[uf2_56]", slow_gate(15)),
    ("grid_swell_trip[b_125]", deaf_to_one_phase(1)),
    ("grid_sag_trip[b_20]", deaf_to_one_phase(1)),
]
FAST_BROKEN = (11,)


@pytest.mark.parametrize(
    ("name", "bend"),
    [
        pytest.param(*entry, id=f"{n}-{entry[0]}", marks=() if n in FAST_BROKEN else (pytest.mark.slow,))
        for n, entry in enumerate(BROKEN)
    ],
)
def test_a_broken_charger_fails(name: str, bend: Callable[[Sim], None]) -> None:
    result = play(replace(ALL[name], health=False), bend)
    assert result.verdict is Verdict.FAIL, complaint(result) or "it passed"


# --------------------------------------------------------------------------------------------------- altered demands
def test_every_demand_of_a_passing_scenario_fails_when_it_is_turned_round() -> None:
    """One recording, many demands: what passed must fail with the opposite demand."""
    scenario = replace(ALL["grid_swell_trip[abc_125]"], health=False)
    turned = (
        Must("ceases", "turned", "t0", within_s=0.001),
        Must("ceases", "turned", "t0", within_s=9.0, not_before_s=0.5),
        Must("event", "turned", "t0", code="grid_trip", detail="UV2"),
        Must("event", "turned", "t0", code="grid_trip", at_least=0, at_most=0),
        Must("event", "turned", "t0", code="grid_trip", at_least=2),
        Must("state", "turned", "t0", state="precharge", within_s=0.5),
        Must("order", "turned", "t0", codes=("session_ended", "grid_trip")),
        replace(scenario.musts[1], kind="never"),
    )
    result = play(replace(scenario, musts=turned))
    assert [outcome.verdict for outcome in result.outcomes] == [Verdict.FAIL] * len(turned), complaint(result)


def test_a_charger_that_cannot_be_brought_to_the_beginning_is_an_error_not_a_fail() -> None:
    from hil.scenarios.schema import Start

    scenario = replace(ALL["grid_swell_small"], start=Start("transfer", 60_000.0))  # more than its rating

    def sick(sim: Sim) -> None:
        sim.converter.handle({"mute": True})

    from hil.scenarios import play as player

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player, "READY_S", 5.0)
        result = play(scenario, sick)
    assert result.verdict is Verdict.ERROR
    assert "was not ready within 5 s" in result.error


def test_a_grid_code_that_does_not_exist_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    scenario = ALL["grid_swell_small"]
    result = play(replace(scenario, unit=replace(scenario.unit, code="atlantis")))
    assert result.verdict is Verdict.ERROR
    assert "atlantis" in result.error


@pytest.mark.slow
def test_a_charger_does_not_reconnect_on_the_word_of_a_measurement_that_was_wrong() -> None:
    band = Band("k_grid", high=0.5)
    never = Must("always", "defect found by the library", "t0", band, from_s=0.2, until_s=1.7)
    result = play(replace(ALL["grid_sense_stuck[value]"], health=False, musts=(never,)))
    assert result.verdict is Verdict.PASS, complaint(result)


@pytest.mark.slow
def test_one_seed_gives_one_recording_to_the_last_byte_and_another_seed_another() -> None:
    def recorded(seed: int) -> str:
        scenario = replace(ALL["can_borne[fifth_lost]"], health=False)
        capture = run_simulated(scenario, seed).capture
        assert capture is not None
        return json.dumps({**capture.to_json(), "about": {}})

    assert recorded(7) == recorded(7)
    assert recorded(7) != recorded(8)


def test_a_charger_whose_program_crashes_is_an_error_and_the_campaign_goes_on() -> None:
    def crash(sim: Sim) -> None:
        def step(*args: object) -> object:
            raise ZeroDivisionError("in guard")

        sim.guard.step = step  # type: ignore[method-assign,assignment]

    result = play(ALL["grid_swell_small"], crash)
    assert result.verdict is Verdict.ERROR
    assert "a program crashed: ZeroDivisionError: in guard" in result.error
