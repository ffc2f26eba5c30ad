"""Every grid driver under the same tests, and what only a SCPI instrument can do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.bench.config import RigLimits
from hil.bench.manual import ManualGrid, Operator
from hil.bench.profile import GridCaps, GridPoint, Segment
from hil.bench.roles import BenchError
from hil.bench.scpi import Instrument, instrument
from hil.bench.scpi_grid import ScpiDc, ScpiGrid
from hil.bench.sim import SimBench, SimSpec
from hil.bench.strict import TableError
from hil.bench.watch import LimitedGrid
from tests.bench_roles.grid_conformance import NOMINAL, SAG, GridConformance, Rig
from tests.bench_roles.scpi_device import AcSource, DcSupply

AC: Instrument = instrument("ac_source", "ac_source")
DC: Instrument = instrument("dc_supply", "dc_supply")


class TestSimulated(GridConformance):
    @pytest.fixture
    def rig(self) -> Rig:
        bench = SimBench(SimSpec(nominal_hz=50.0, code="de_vde_ar_n_4105_2018"))
        return Rig(bench.grid, bench.clock.wait)


@pytest.fixture
def source() -> Iterator[AcSource]:
    device = AcSource()
    yield device
    device.close()


@pytest.fixture
def scpi(source: AcSource) -> Iterator[ScpiGrid]:
    grid = ScpiGrid(source.address, AC, 40.0, source.advance)
    yield grid
    grid.close()


class TestScpi(GridConformance):
    @pytest.fixture
    def rig(self, source: AcSource, scpi: ScpiGrid) -> Rig:
        return Rig(scpi, source.advance)


class TestBehindTheRigsLimits(GridConformance):
    @pytest.fixture
    def rig(self, source: AcSource, scpi: ScpiGrid) -> Rig:
        return Rig(LimitedGrid(scpi, RigLimits()), source.advance)


class Person:
    """An obedient operator with a source that has a front panel."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.numbers: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        self.asked.append(text)
        if text.startswith("Set the AC source"):
            volts, hertz = text.removeprefix("Set the AC source to ").split(" V (phase to neutral) and ")
            self.numbers = dict(zip("abc", volts.split(", "), strict=True))
            self.numbers["f"] = hertz.split(" ")[0]
        if text.startswith("Switch the output of the AC source off"):
            self.numbers = dict.fromkeys("abcf", "0")
        if text.startswith("Voltage of phase"):
            return self.numbers[text.split()[3]]
        return self.numbers["f"] if text.startswith("Frequency") else "y"


class TestByHand(GridConformance):
    plays = False

    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(ManualGrid(Operator(Person()), GridCaps()), lambda seconds: None)


def test_an_operator_who_says_no_or_is_not_there_has_not_done_it() -> None:
    with pytest.raises(BenchError, match="was not done"):
        ManualGrid(Operator(lambda text: "n"), GridCaps()).output(True)

    def nobody(text: str) -> str:
        raise EOFError

    with pytest.raises(BenchError, match="nobody is there"):
        ManualGrid(Operator(nobody), GridCaps()).output(True)
    with pytest.raises(BenchError, match="no reading"):
        ManualGrid(Operator(lambda text: "what?"), GridCaps()).read()


# ---------------------------------------------------------------------------------------------------------------- SCPI
def test_the_current_limit_is_set_and_the_output_is_off_before_anything_else(source: AcSource, scpi: ScpiGrid) -> None:
    assert source.s.i_max_a == 40.0
    assert not source.s.output
    assert "ACME" in scpi.identity
    order = [line for line in source.log if line.startswith(("OUTP OFF", "INST:COUP ALL;:CURR"))]
    assert order == ["OUTP OFF", "INST:COUP ALL;:CURR 40.00"]


def test_what_the_instrument_refuses_is_said_in_its_own_words(source: AcSource, scpi: ScpiGrid) -> None:
    scpi.caps = GridCaps(v_max_v=1000.0)  # a table that promises more than the instrument has
    with pytest.raises(BenchError, match=r"-222.*out of range"):
        scpi.steady(GridPoint((400.0, 400.0, 400.0), 50.0))
    scpi.steady(NOMINAL)  # the queue is empty again: an old refusal does not stain the next command


def test_a_wrong_spelling_in_the_table_is_found_at_once(source: AcSource) -> None:
    commands = {**AC.commands, "limit_current": "CURRENT:LIMIT {i_a}"}
    table = Instrument(**{**{n: getattr(AC, n) for n in AC.__slots__}, "commands": commands})
    with pytest.raises(BenchError, match=r"-113.*Undefined header"):
        ScpiGrid(source.address, table, 40.0, source.advance)


def test_a_source_that_does_not_switch_on_is_noticed(source: AcSource) -> None:
    grid = ScpiGrid(source.address, AC, 0.0, source.advance)  # it refuses without a current limit
    with pytest.raises(BenchError, match="-221"):
        grid.output(True)
    grid.close()


def test_3_a_lost_instrument_is_said_at_the_next_call_and_at_every_later_one(source: AcSource, scpi: ScpiGrid) -> None:
    scpi.steady(NOMINAL)
    scpi.output(True)
    source.hang_up()
    with pytest.raises(BenchError):
        scpi.read()
    with pytest.raises(BenchError, match="connection is lost"):
        scpi.off()


def test_3_an_instrument_that_answers_nothing_runs_into_the_time_out(source: AcSource) -> None:
    table = Instrument(**{**{n: getattr(AC, n) for n in AC.__slots__}, "timeout_s": 0.5})
    grid = ScpiGrid(source.address, table, 40.0, source.advance)
    source.mute = True
    with pytest.raises(BenchError, match="no answer"):
        grid.read()
    source.mute = False
    with pytest.raises(BenchError, match="connection is lost"):  # a late answer must not be taken for another's
        grid.read()


def test_nobody_at_the_address_is_one_sentence(source: AcSource) -> None:
    address = source.address
    source.close()
    with pytest.raises(BenchError, match="no instrument at"):
        ScpiGrid(address, AC, 40.0)


def test_a_dead_output_measures_nothing_and_that_is_no_number(scpi: ScpiGrid) -> None:
    with pytest.raises(BenchError, match="no measurement"):
        scpi.read()


def test_a_phase_jump_is_refused_by_a_source_whose_list_has_no_phase(scpi: ScpiGrid) -> None:
    scpi.steady(NOMINAL)
    with pytest.raises(BenchError, match="cannot jump"):
        scpi.load([Segment(0.1, "jump", jump_deg=20.0)])


def test_the_list_that_arrives_is_the_compiled_one(source: AcSource, scpi: ScpiGrid) -> None:
    scpi.steady(NOMINAL)
    compiled = scpi.load(SAG)
    assert source.s.dwell == [p.dt_s for p in compiled.points]
    assert source.s.list_v == [[p.v_v[k] for p in compiled.points] for k in range(3)]
    assert source.s.slew_f[-1] == pytest.approx(1.0 / 0.2)  # 1 Hz in 0.2 s


# ------------------------------------------------------------------------------------------------------- DC supply
@pytest.fixture
def supply() -> Iterator[DcSupply]:
    device = DcSupply()
    yield device
    device.close()


def test_the_dc_supply_plays_a_battery_and_its_signs_are_ours(supply: DcSupply) -> None:
    ev = ScpiDc(supply.address, DC, supply.advance)
    ev.say({"voltage_v": 360.0, "limits": [50.0, 30.0]})
    assert (supply.v_v, supply.sink_a, supply.source_a) == (360.0, 50.0, 30.0)
    ev.plug_in()
    assert supply.output
    assert ev.read() == (360.0, 12.5)  # it sinks 12.5 A: + charges
    ev.off()
    ev.off()
    assert not supply.output
    ev.close()


@pytest.mark.parametrize(
    "command",
    [{"voltage_v": 600.0}, {"limits": [10.0, 90.0]}, {"limits": "all"}, {"mute": True}, {"voltage_v": 10.0, "x": 1}],
)
def test_the_dc_supply_refuses_what_it_cannot_do_and_nothing_has_changed(
    supply: DcSupply, command: dict[str, object]
) -> None:
    ev = ScpiDc(supply.address, DC, supply.advance)
    with pytest.raises(BenchError):
        ev.say(command)
    assert (supply.v_v, supply.sink_a, supply.source_a) == (0.0, 0.0, 0.0)
    with pytest.raises(BenchError, match="no state of charge"):
        ev.soc()
    ev.close()


# --------------------------------------------------------------------------------------------------------- the tables
@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("[caps]\n", "[caps]\ncolour = 1\n"), "no key 'colour'"),
        (('fire = "*TRG"\n', ""), "'fire' is missing"),
        (("points_max = 100", "points_max = 0"), "whole number from 1"),
        (('kind = "ac_source"', 'kind = "dc_supply"'), "must be one of ac_source"),
        (("[commands]", "[commands]\nfly = 'F'"), "no key 'fly'"),
    ],
)
def test_a_command_table_is_read_strictly(tmp_path: Path, change: tuple[str, str], wanted: str) -> None:
    import hil.bench

    original = (Path(hil.bench.__file__).parent / "instruments" / "ac_source.toml").read_text()
    assert change[0] in original
    path = tmp_path / "mine.toml"
    path.write_text(original.replace(*change))
    with pytest.raises(TableError, match=wanted):
        instrument(str(path), "ac_source")


def test_an_unknown_table_is_one_sentence_that_names_the_known_ones() -> None:
    with pytest.raises(TableError, match="there are ac_source, dc_supply"):
        instrument("itech", "ac_source")
