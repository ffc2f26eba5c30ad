"""Grid codes: what the profiles say, what the loader refuses, adjustments, and the arithmetic of the chain."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from firmware.grid_codes import (
    Chain,
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    GridCode,
    GridCodeError,
    RelaySetting,
    adjust,
    inspect,
    internal_delay,
    load,
    names,
)
from firmware.grid_codes.loader import DIRECTORY, _parsed
from firmware.grid_codes.table import supported

CHAIN = Chain(
    measure_window_s=0.010, report_period_s=0.005, tick_s=0.010, converter_off_s=0.020, contactor_open_s=0.030
)
LINKS = ("measure_window_s", "report_period_s", "tick_s", "converter_off_s", "contactor_open_s")
VDE = load("de_vde_ar_n_4105_2018", nominal_v=230.0)
IEEE = load("ieee1547_2018_cat3", nominal_v=277.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the profiles to spoil."""
    for path in DIRECTORY.glob("*.toml"):
        shutil.copy(path, tmp_path)
    return tmp_path


def spoil(directory: Path, old: str, new: str, name: str = "de_vde_ar_n_4105_2018") -> None:
    path = directory / f"{name}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# ----------------------------------------------------------------------------------------------------------- contents
def test_the_profiles_are_named_without_their_parts_and_without_those_refused() -> None:
    assert {"de_vde_ar_n_4105_2018", "ieee1547_2018_cat3"} <= set(names())
    assert not {"ieee1547_2018_base", "ieee1547_2018_norm_a", "_sources", "no_lv"} & set(names())
    assert set(names(refused=True)) - set(names()) == {"no_lv"}


def test_loading_changes_nothing_of_what_was_parsed() -> None:
    """What a file says is kept between two loads (`_parsed`); a load that changed it would spoil the next one."""
    for name in names(refused=True):
        inspect(name)
    for path in DIRECTORY.glob("*.toml"):
        text = path.read_text("utf-8")
        assert _parsed(text) == tomllib.loads(text), path.name


def test_a_profile_that_was_changed_is_read_again(directory: Path) -> None:
    before = load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory)
    assert before == VDE
    spoil(directory, 'title = "', 'title = "Changed: ')
    assert load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory).title == f"Changed: {VDE.title}"


def test_the_german_trips_are_relay_settings() -> None:
    found = {t.id: (t.threshold.value, t.time.delay.value) for t in VDE.trips if isinstance(t.time, RelaySetting)}
    assert found == {
        "OV2": (1.25, 0.1), "OV1_10MIN": (1.10, 0.1), "UV1": (0.80, 3.0), "UV2": (0.45, 0.3),
        "UF1": (47.5, 0.1), "OF1": (51.5, 0.1),
    }  # fmt: skip


def test_the_american_trips_are_clearing_times_and_come_from_two_files() -> None:
    found = {t.id: (t.threshold.value, t.time.limit.value) for t in IEEE.trips if isinstance(t.time, ClearingMax)}
    assert found == {
        "OV2": (1.2, 0.16), "OV1": (1.1, 13.0), "UV1": (0.88, 21.0), "UV2": (0.5, 2.0),
        "OF2": (62.0, 0.16), "OF1": (61.2, 300.0), "UF1": (58.5, 300.0), "UF2": (56.5, 0.16),
    }  # fmt: skip


@pytest.mark.parametrize("code", [VDE, IEEE], ids=lambda c: c.name)
def test_every_number_has_a_unit_a_clause_and_known_sources(code: object) -> None:
    count = 0
    for key, setting in code.numbers():  # type: ignore[attr-defined]
        count += 1
        assert setting.unit, key
        assert setting.clause, key
        assert setting.src, key
        assert setting.min is None or setting.min <= setting.value <= setting.max, key
    assert count > 30


def test_the_profiles_are_verified_and_list_what_is_only_remembered() -> None:
    assert VDE.verified
    assert IEEE.verified
    assert "enter_service.v_max" in VDE.unverified
    assert not any(key.startswith("trip.") for key in VDE.unverified + IEEE.unverified)
    assert VDE.trip("OF1").threshold.conf is Confidence.HIGH
    assert isinstance(VDE.trip("OF1").time, RelaySetting)
    assert VDE.trip("OF1").time.delay.conf is Confidence.MEDIUM  # type: ignore[union-attr]


def test_an_unknown_trip_is_refused_with_those_there_are() -> None:
    with pytest.raises(GridCodeError, match="has no trip OV9; it has OV2, OV1_10MIN"):
        VDE.trip("OV9")


def test_the_hash_changes_with_everything_that_protection_acts_on() -> None:
    again = load("de_vde_ar_n_4105_2018", nominal_v=230.0)
    assert again.profile_hash == VDE.profile_hash
    others = [
        load("de_vde_ar_n_4105_2018", nominal_v=231.0),
        load("de_vde_ar_n_4105_2018", nominal_v=230.0, allow_unverified=True),
        IEEE,
        adjust(IEEE, {"trip.OV1.time_s": 12.0}),
    ]
    hashes = {c.profile_hash for c in [*others, VDE]}
    assert len(hashes) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", h) for h in hashes)


# ------------------------------------------------------------------------------------------------------------- refusal
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("threshold = 1.25", "threshold = 1.25\nhysteresis = 0.01", "unknown keys: trip.OV2.hysteresis"),
        ("[mean_10min]", "[mean_10_min]", "unknown keys: mean_10_min"),
        ("threshold = 1.25", 'threshold = "1.25"', "trip.OV2.threshold must be a number (0..2 pu), not '1.25'"),
        ("threshold = 1.25", "threshold = true", "trip.OV2.threshold must be a number (0..2 pu), not True"),
        ("threshold = 1.25", "threshold = 125.0", "trip.OV2.threshold is 125.0; allowed: 0..2 pu"),
        ("threshold = 1.25", "threshold = nan", "trip.OV2.threshold is nan; allowed: 0..2 pu"),
        ("threshold = 1.25\n", "", "trip.OV2.threshold is missing (0..2 pu)"),
        ("threshold = 1.25", "threshold = { v = 1.25, unit = 3 }", "trip.OV2.threshold has unknown keys: unit"),
        ("threshold = 1.25", "threshold = { v = 1.25, min = 1.0 }", "has only one end of a range"),
        ("threshold = 1.25", "threshold = { v = 1.25, min = 1.0, max = 1.2 }", "is 1.25, outside of its own range"),
        ("threshold = 1.25", 'threshold = { v = 1.25, range_conf = "low" }', "has range_conf but no range"),
        ("threshold = 1.25", "threshold = { min = 1.0, max = 1.3 }", "trip.OV2.threshold has no v"),
        ("threshold = 47.5", "threshold = 0.95", "trip.UF1.threshold is 0.95; allowed: 40..70 Hz"),
        ("threshold = 47.5", "threshold = 50.5", "an under-trip must lie under the nominal value 50"),
        ("threshold = 1.25", "threshold = 0.9", "an over-trip must lie over the nominal value 1"),
        ('conf = "high"\n', "", "trip.OV2.threshold.conf is missing; allowed: low, medium, high"),
        ('conf = "high"\n', 'conf = "certain"\n', "trip.OV2.threshold.conf is 'certain'; allowed: low, medium, high"),
        ('src = ["xolta", "hoy_de"]\n', "", "trip.OV2.threshold has no src"),
        ('src = ["xolta", "hoy_de"]\n', 'src = "xolta"\n', "trip.OV2.threshold has no src"),
        ('src = ["xolta", "hoy_de"]\n', 'src = ["somebody"]\n', "cites 'somebody', which _sources.toml does not have"),
        ('src = ["xolta", "hoy_de"]\n', 'src = ["hoy_es", "hoy_de"]\n', "claims high confidence; its sources support"),
        ('direction = "over"', 'direction = "up"', "trip.OV2.direction is 'up'; allowed: over, under"),
        ('quantity = "voltage"', 'quantity = "current"', "trip.OV2.quantity is 'current'; allowed: voltage, "),
        ("relay_setting_s = 0.1", "time_s = 0.1", "trip.OV2.time must be one of relay_setting_s, clearing_max_s"),
        ("relay_setting_s = 0.1", "relay_setting_s = 0.1\nclearing_max_s = 0.1", "not relay_setting_s, clearing_max_s"),
        ("relay_setting_s = 0.1", "relay_setting_s = -0.1", "trip.OV2.relay_setting_s is -0.1; allowed: 0..3600 s"),
        ('clause = "clause not given in the source"\n', "", "trip.OV2.threshold has no clause"),
        ("ramp_pu_per_min =", "ramp_duration_s = 600.0\nramp_pu_per_min =", "give one of them"),
        ("f_min = 47.5", "f_min = 50.05", "window 50.05..50.1 Hz does not hold the nominal value 50 Hz"),
        ("delay_s = 60.0\n", "", "enter_service.delay_s is missing (0..3600 s)"),
        ("lo = 49.0", "lo = 49.5", "ride_through frequency has a gap or an overlap at 49..49.5"),
        ("lo = 51.0", "lo = 52.0", "ride_through.0.lo is 52; it must be below hi = 51.5"),
        ('mode = "continuous_operation"', 'mode = "mandatory_operation"', "must have one continuous_operation row"),
        ("window_s = 600.0", "window_s = 601.0", "must be a whole number of intervals of 3 s"),
        ("schema = 1", "schema = 2", "schema is 2; allowed: 1..1"),
        ("nominal_f_hz = 50.0", "nominal_f_hz = 16.7", "profile.nominal_f_hz is 16.7; allowed: 50..60 Hz"),
        ('title = "', "title = 5 # ", "profile.title must be a text, not 5"),
        ("[profile]", "[profile]\npart = 1", "profile.part must be true or false, not 1"),
        ("[profile]", '[profile]\nextends = "x"', "profile.extends must be a list of profile names"),
        ("[profile]", '[profile]\nextends = ["nothing"]', "there is no grid code 'nothing'"),
        ("[profile]", '[profile]\nextends = ["de_vde_ar_n_4105_2018"]', "extends itself"),
        ("schema = 1", "schema = ", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_spoiled_profile_is_refused_with_one_sentence(directory: Path, old: str, new: str, sentence: str) -> None:
    spoil(directory, old, new)
    with pytest.raises(GridCodeError) as caught:
        load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory)
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text
    assert "de_vde_ar_n_4105_2018" in text


def test_a_section_that_is_needed_and_missing_is_refused(directory: Path) -> None:
    path = directory / "de_vde_ar_n_4105_2018.toml"
    text = path.read_text()
    for section in ("mean_10min", "enter_service"):
        start = text.index(f"[{section}]")
        path.write_text(text[:start] + text[text.index("\n[", start) :])
        with pytest.raises(GridCodeError, match=section):
            load(path.stem, nominal_v=230.0, directory=directory)


@pytest.mark.parametrize("nominal", [120.0, 400.0, 0.0, float("nan"), float("inf"), True])
def test_a_nominal_voltage_the_code_was_not_written_for_is_refused(nominal: float) -> None:
    with pytest.raises(GridCodeError, match=r"nominal_v is .*; allowed: 227\.7\.\.232\.3 V, phase to neutral"):
        load("de_vde_ar_n_4105_2018", nominal_v=nominal)


@pytest.mark.parametrize("name", ["nothing", "", "_sources", "../boards/desk", "ieee1547_2018_base"])
def test_what_is_no_profile_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(GridCodeError, match=r"there are: .*de_vde_ar_n_4105_2018, .*ieee1547_2018_cat3"):
        load(name, nominal_v=230.0)


def test_a_source_without_a_kind_is_refused(directory: Path) -> None:
    spoil(directory, 'kind = "code"', 'kind = "rumour"', "_sources")
    with pytest.raises(GridCodeError, match=r"_sources\.toml: opender needs a ref and a kind"):
        load("ieee1547_2018_cat3", nominal_v=277.0, directory=directory)


def test_confidence_needs_independent_sources() -> None:
    a, b = {"key": "a", "kind": "page"}, {"key": "b", "kind": "code"}
    twin = {"key": "c", "kind": "issue", "group": "a"}
    recall, law = {"key": "r", "kind": "recall"}, {"key": "l", "kind": "law"}
    assert supported([recall]) is Confidence.LOW
    assert supported([a, recall]) is Confidence.MEDIUM
    assert supported([{**a, "group": "a"}, twin]) is Confidence.MEDIUM
    assert supported([a, b]) is Confidence.HIGH
    assert supported([law]) is Confidence.HIGH
    assert supported([{**a, "weak": True}]) is Confidence.LOW
    assert supported([{**a, "weak": True}, b]) is Confidence.MEDIUM


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('conf = "medium"\nsrc = ["hoy_de", "hoy_es"]', 'conf = "low"\nsrc = ["recall"]'),
        ('{ v = 0.1, conf = "medium", note', '{ v = 0.1, conf = "low", note'),
    ],
)
def test_a_trip_that_is_only_remembered_loads_only_on_request_and_says_so(directory: Path, old: str, new: str) -> None:
    spoil(directory, old, new)
    with pytest.raises(GridCodeError, match=r"trip\.[UO]F1 rests on numbers that are only remembered"):
        load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory)
    code = load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory, allow_unverified=True)
    assert not code.verified


# ---------------------------------------------------------------------------------------------------------- adjustment
def test_the_operator_moves_numbers_inside_the_ranges_of_the_code() -> None:
    code = adjust(IEEE, {"enter_service.delay_s": 0.0, "trip.OV1.time_s": 2.0, "trip.UF2.threshold": 57})
    assert code.enter_service.delay_s.value == 0.0
    assert internal_delay(code.trip("OV1"), CHAIN) == pytest.approx(1.925)
    assert code.trip("UF2").threshold.value == 57.0
    assert code.adjusted == (
        ("enter_service.delay_s", 300.0, 0.0), ("trip.OV1.time_s", 13.0, 2.0), ("trip.UF2.threshold", 56.5, 57.0),
    )  # fmt: skip
    assert code.verified
    assert IEEE.enter_service.delay_s.value == 300.0


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("trip.OV1.time_s", 0.99, "trip.OV1.time_s cannot be 0.99; allowed: 1..13 s"),
        ("trip.OV1.time_s", 13.01, "allowed: 1..13 s"),
        ("trip.OV1.time_s", float("nan"), "cannot be nan"),
        ("trip.OV1.time_s", True, "cannot be True"),
        ("trip.OV1.time_s", "2", "cannot be 2; allowed: 1..13 s"),
        ("trip.OV9.time_s", 1.0, "has no setting trip.OV9.time_s; adjustable are: trip.OF2.threshold"),
        ("momentary_cessation.restore_max_s", 0.4, "has no setting momentary_cessation.restore_max_s"),
        ("enter_service.v_min", 0.96, "allowed: 0.88..0.95 pu"),
    ],
)
def test_an_adjustment_out_of_range_is_refused_and_changes_nothing(key: str, value: float, sentence: str) -> None:
    before = IEEE.profile_hash
    with pytest.raises(GridCodeError, match=re.escape(sentence)):
        adjust(IEEE, {"enter_service.delay_s": 1.0, key: value})
    assert IEEE.profile_hash == before


def test_the_ends_of_a_range_are_inside_of_it() -> None:
    for value in (1.0, 13.0):
        assert adjust(IEEE, {"trip.OV1.time_s": value}).trip("OV1").time == ClearingMax(
            next(s for k, s in adjust(IEEE, {"trip.OV1.time_s": value}).numbers() if k == "trip.OV1.time_s")
        )


def test_a_number_without_a_range_cannot_be_moved() -> None:
    with pytest.raises(GridCodeError, match=r"trip\.UV1\.time_s is fixed at 3 s: the code gives no range"):
        adjust(VDE, {"trip.UV1.time_s": 3.0})


def test_a_range_that_is_only_remembered_is_used_only_on_request() -> None:
    with pytest.raises(GridCodeError, match=r"the range of trip\.OV1_10MIN\.threshold .* is only remembered"):
        adjust(VDE, {"trip.OV1_10MIN.threshold": 1.12})
    assert adjust(VDE, {"trip.OV1_10MIN.threshold": 1.10}).verified
    code = load(VDE.name, nominal_v=230.0, allow_unverified=True)
    assert code.verified
    moved = adjust(code, {"trip.OV1_10MIN.threshold": 1.12})
    assert moved.trip("OV1_10MIN").threshold.value == 1.12
    assert not moved.verified


# ---------------------------------------------------------------------------------------------------------- the chain
def test_a_relay_setting_is_used_as_it_stands() -> None:
    slow = Chain(1.0, 1.0, 1.0, 1.0, 1.0)
    assert internal_delay(VDE.trip("UV1"), slow) == 3.0


def test_a_clearing_time_leaves_what_the_whole_chain_does_not_take() -> None:
    assert internal_delay(IEEE.trip("OV2"), CHAIN) == pytest.approx(0.16 - 0.075)
    assert internal_delay(IEEE.trip("OF2"), CHAIN) == pytest.approx(0.16 - 0.105)  # two cycles instead of a half one
    assert internal_delay(IEEE.trip("UV2"), CHAIN) == pytest.approx(2.0 - 0.075)


@pytest.mark.parametrize("link", LINKS)
def test_every_link_of_the_chain_is_taken_off(link: str) -> None:
    parts = dict.fromkeys(LINKS, 0.0)
    assert internal_delay(IEEE.trip("OV2"), Chain(**parts)) == 0.16
    assert internal_delay(IEEE.trip("OV2"), Chain(**{**parts, link: 0.05})) == pytest.approx(0.11)


def test_a_board_that_is_too_slow_is_refused() -> None:
    assert internal_delay(IEEE.trip("OV2"), Chain(0.16, 0.0, 0.0, 0.0, 0.0)) == 0.0
    assert internal_delay(IEEE.trip("OV2"), Chain(0.155, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(0.005)
    with pytest.raises(GridCodeError, match=r"trip\.OV2: this board takes 0\.161 s .* the code allows 0\.16 s in all"):
        internal_delay(IEEE.trip("OV2"), Chain(0.161, 0.0, 0.0, 0.0, 0.0))


def test_a_frequency_element_that_a_phase_jump_would_trip_is_refused() -> None:
    assert internal_delay(IEEE.trip("OF2"), Chain(0.0, 0.0, 0.0698, 0.0, 0.0)) == pytest.approx(0.0502)
    assert internal_delay(inspect("en50549_1_2019").trip("UF2"), CHAIN) == 0.05  # the least that is enough
    with pytest.raises(GridCodeError, match=r"trip\.OF2: 0\.0498 s are left to wait .* a phase jump would trip it"):
        internal_delay(IEEE.trip("OF2"), Chain(0.0, 0.0, 0.0702, 0.0, 0.0))


@pytest.mark.parametrize("bad", [-0.001, 10.001, 10.09, float("nan"), float("inf")])
def test_a_chain_out_of_range_is_refused(bad: float) -> None:
    with pytest.raises(GridCodeError, match=r"chain\.tick_s is .*; allowed: 0\.\.10 s"):
        Chain(0.01, 0.005, bad, 0.02, 0.03)


def test_the_ends_of_what_a_chain_may_take_are_allowed_and_a_chain_cannot_be_changed() -> None:
    chain = Chain(0.0, 0.0, 0.0, 0.0, 10.0)
    assert chain.contactor_open_s == 10.0
    with pytest.raises(AttributeError, match="cannot assign"):
        chain.tick_s = 1.0  # type: ignore[misc]
    assert not hasattr(chain, "__dict__")


def test_a_time_with_only_an_end_leaves_what_the_chain_does_not_take() -> None:
    limit = replace(VDE.trip("UV1").threshold, unit="s", value=2.0, min=None, max=None)
    trip = replace(VDE.trip("UV1"), time=DelayMinAndDisconnectMax(None, limit))
    for takes, left in ((2.0, 0.0), (1.995, 0.005), (0.5, 1.5)):
        assert internal_delay(trip, Chain(takes, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(left)
    with pytest.raises(GridCodeError, match=r"takes 2\.005 s .* wants it disconnected by 2 s"):
        internal_delay(trip, Chain(2.005, 0.0, 0.0, 0.0, 0.0))


def test_a_time_with_two_ends_is_refused_from_the_first_millisecond_too_much() -> None:
    limit = replace(VDE.trip("UV1").threshold, unit="s", value=2.0, min=None, max=None)
    trip = replace(VDE.trip("UV1"), time=DelayMinAndDisconnectMax(replace(limit, value=1.0), limit))
    with pytest.raises(GridCodeError, match=r"1\.005 s of this board's chain end after the 2 s"):
        internal_delay(trip, Chain(1.005, 0.0, 0.0, 0.0, 0.0))


def test_a_time_with_two_ends_waits_the_minimum_and_must_disconnect_by_the_maximum(directory: Path) -> None:
    spoil(directory, "relay_setting_s = 3.0", "delay_min_s = 1.0\ndisconnect_max_s = { v = 2.0, min = 1.0, max = 3.0 }")
    code = load("de_vde_ar_n_4105_2018", nominal_v=230.0, directory=directory)
    trip = code.trip("UV1")
    assert isinstance(trip.time, DelayMinAndDisconnectMax)
    assert internal_delay(trip, Chain(1.0, 0.0, 0.0, 0.0, 0.0)) == 1.0
    with pytest.raises(GridCodeError, match=r"waiting 1 s and 1\.01 s of this board's chain end after the 2 s"):
        internal_delay(trip, Chain(1.0, 0.01, 0.0, 0.0, 0.0))
    with pytest.raises(GridCodeError, match=r"1\.001 s of this board's chain"):
        internal_delay(trip, Chain(1.001, 0.0, 0.0, 0.0, 0.0))
    later = adjust(code, {"trip.UV1.disconnect_max_s": 3.0})
    # With room to spare: later by what a sample's time may be ahead, so that "not before" holds on anybody's clock.
    assert internal_delay(later.trip("UV1"), Chain(1.0, 0.01, 0.0, 0.0, 0.0)) == 1.05
    assert internal_delay(later.trip("UV1"), Chain(1.94, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(1.03)


def test_off_by_without_a_minimum_waits_what_the_chain_leaves_and_refuses_a_board_that_is_too_slow() -> None:
    trip = inspect("as4777_2_2020_au_a").trip("OV2")
    assert internal_delay(trip, Chain(0.08, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(0.12)
    assert internal_delay(trip, Chain(0.2, 0.0, 0.0, 0.0, 0.0)) == 0.0
    with pytest.raises(GridCodeError, match=r"trip\.OV2: this board takes 0\.201 s .* disconnected by 0\.2 s"):
        internal_delay(trip, Chain(0.201, 0.0, 0.0, 0.0, 0.0))


# ------------------------------------------------------------------------------------------------------- the document
def document_rows() -> dict[str, list[str]]:
    """Tables of docs/protection.md by their first cell."""
    text = (Path(__file__).parent.parent / "docs" / "protection.md").read_text()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(("code", "column"), [(VDE, 1), (IEEE, 2)], ids=lambda x: getattr(x, "name", None))
def test_the_document_names_the_trips_of_the_profiles(code: GridCode, column: int) -> None:
    rows = document_rows()
    listed = {k for k, cells in rows.items() if re.fullmatch(r"[OU][VF]\d\w*", k) and cells[column] != "-"}
    assert listed == {t.id for t in code.trips}
    for trip in code.trips:
        value, time = re.findall(r"[\d.]+", rows[trip.id][column])
        assert float(value) == trip.threshold.value
        assert float(time) == next(s.value for k, s in trip.numbers() if k == "time_s")


def test_the_document_names_the_enter_service_settings_of_the_profiles() -> None:
    rows = document_rows()
    for name, code in (("VDE-AR-N 4105", VDE), ("IEEE 1547", IEEE)):
        es = code.enter_service
        ramp = es.ramp_pu_per_min or es.ramp_duration_s
        assert ramp is not None
        numbers = [float(x) for cell in rows[name] for x in re.findall(r"\d+(?:\.\d+)?", cell)]
        assert numbers == [s.value for s in (es.v_min, es.v_max, es.f_min, es.f_max, es.delay_s, ramp)]
