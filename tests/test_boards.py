"""Board files: what is right is read whole, what is wrong is refused with one sentence."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boards
from boards.docs import table
from boards.loader import HERE, parse
from boards.rules import Rule
from boards.schema import SECTIONS, Bus

DESK: dict[str, Any] = tomllib.loads((HERE / "desk_can.toml").read_text())
BEG22: dict[str, Any] = tomllib.loads((HERE / "beg22.toml").read_text())
DOCS = Path(__file__).parent.parent / "docs" / "boards.md"


def _can(interface: str, channel: str) -> dict[str, Any]:
    return {"interface": interface, "channel": channel, "bitrate": 125000}


def changed(path: str, value: Any, base: dict[str, Any] = DESK) -> dict[str, Any]:
    """A copy of a board with one key set (or removed: value is ...). Path: section.key."""
    document = copy.deepcopy(base)
    *sections, name = path.split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return document


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(boards.BoardError) as caught:
        parse(document, "file.toml", "/run/q")
    text = str(caught.value)
    assert text.startswith("file.toml: ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def read(document: dict[str, Any]) -> tuple[boards.Board | None, str]:
    """The board, or the sentence that refuses it."""
    try:
        return parse(document, "file.toml", "/run/q"), ""
    except boards.BoardError as error:
        return None, str(error)


@pytest.mark.parametrize("name", boards.names())
def test_every_board_of_the_package_can_be_loaded_and_bears_its_files_name(name: str) -> None:
    assert boards.load(name, "/run/q").name == name


def test_the_run_directory_is_put_into_ports_and_nowhere_else() -> None:
    board = boards.load("desk", "/run/q")
    assert board.pilot.port == "/run/q/pilot"
    assert board.insulation.port == "/run/q/insulation"
    assert "/run/q" not in board.title


def test_desk_values_arrive_under_their_agreed_names() -> None:
    board = boards.load("desk", "/run/q")
    assert board.emulated
    assert board.grid.code == "de_vde_ar_n_4105_2018"
    assert (board.ratings.charge_w, board.guard.rate_hz, board.policy.idle_power_w) == (22000.0, 100.0, 11000.0)
    assert board.converter.driver == "infy_beg_v104"
    assert (board.bus["power"].interface, board.bus["power"].port) == ("udp_multicast", 43113)
    assert board.rig is not None
    assert board.rig.module == "hil.rig"
    assert (board.limits.insulation_min_ohm, board.limits.ramp_a_per_s) == (100_000.0, 25.0)
    assert board.grid.adjust == {}


def test_the_real_board_has_no_rig_and_its_meters_share_one_line() -> None:
    board = boards.load("beg22")
    assert not board.emulated
    assert board.rig is None
    assert board.ac_meter is not None
    assert board.dc_meter is not None
    assert len({board.ac_meter.port, board.dc_meter.port, board.insulation.port}) == 1
    assert len({board.ac_meter.address, board.dc_meter.address, board.insulation.address}) == 3


def test_a_board_for_quick_enter_service_on_an_american_grid_can_be_written() -> None:
    document = changed("grid.code", "ieee1547_2018_cat3")
    document["grid"] |= {"nominal_v": 277.0, "adjust": {"enter_service": {"delay_s": 0}, "enter_service.ramp_s": 1.0}}
    board = parse(document, "file.toml", "/run/q")
    assert board.grid.adjust == {"enter_service.delay_s": 0.0, "enter_service.ramp_s": 1.0}


def test_adjustments_may_stand_in_a_file_of_their_own_and_only_once(tmp_path: Path) -> None:
    text = (Path(boards.__file__).parent / "desk.toml").read_text()
    head = '[grid]\nadjust_file = "operator.toml"\nadjust = { "trip.UV1.time_s" = 2.0 }\n'
    mine = tmp_path / "desk.toml"
    mine.write_text(text.replace("[grid]\n", head, 1))
    operator = tmp_path / "operator.toml"
    operator.write_text("[enter_service]\ndelay_s = 90\n")
    board = boards.load(mine)
    assert board.grid.adjust == {"trip.UV1.time_s": 2.0, "enter_service.delay_s": 90.0}
    (tmp_path / "whole.toml").write_text(boards.describe(board))
    assert boards.load(tmp_path / "whole.toml").grid.adjust == board.grid.adjust
    for wrong, sentence in (
        ("trip.UV1.time_s = 3.0", "trip.UV1.time_s stands in [grid.adjust] and in operator.toml"),
        ("enter_service.delay_s = 'long'", "operator.toml: enter_service.delay_s = 'long' must be a finite number"),
        ("enter_service", "operator.toml: is not valid TOML"),
    ):
        operator.write_text(wrong)
        with pytest.raises(boards.BoardError, match=re.escape(sentence)):
            boards.load(mine)
    operator.write_bytes(b"\xff")
    with pytest.raises(boards.BoardError, match="is not UTF-8 text"):
        boards.load(mine)
    operator.unlink()
    with pytest.raises(boards.BoardError, match=r"operator\.toml: cannot be read: No such file"):
        boards.load(mine)


def test_meters_are_optional_and_insulation_is_not() -> None:
    document = changed("ac_meter", ...)
    del document["dc_meter"]
    board = parse(document, "file.toml", "/run/q")
    assert board.ac_meter is None
    assert board.dc_meter is None
    assert "[insulation] is missing" in refusal(changed("insulation", ...))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("bord", {}, ["unknown section [bord]", "known:"]),
        ("grid.cod", "x", ["unknown key 'cod' in [grid]", "code, nominal_v"]),
        ("bus.power.speed", 1, ["unknown key 'speed' in [bus.power]"]),
        ("ratings", ..., ["section [ratings] is missing"]),
        ("ratings", 5, ["[ratings] must be a section"]),
        ("bus.power", 5, ["[bus.power] must be a section"]),
        ("grid.code", ..., ["[grid] code is missing"]),
        ("ratings.charge_w", "22 kW", ["[ratings] charge_w = '22 kW' must be a number", "above 0, at most 400000 W"]),
        ("ratings.charge_w", True, ["must be a number"]),
        ("ratings.charge_w", math.nan, ["out of range"]),
        ("ratings.discharge_w", math.inf, ["out of range"]),
        ("ratings.charge_w", 0, ["out of range", "above 0"]),
        ("guard.rate_hz", 5, ["[guard] rate_hz = 5 is out of range; allowed: 50 to 1000 Hz"]),
        ("guard.priority", 1.5, ["must be a whole number: 1 to 99"]),
        ("board.emulated", "yes", ["must be true or false"]),
        ("board.title", 7, ["must be text in quotes"]),
        ("board.name", "Desk 1", ["must be lower-case letters"]),
        ("board.name", "bic2200", ["reserved", "BIC-2200"]),
        ("converter.driver", "bic2200", ["not known", "reserved", "infy_beg_v104"]),
        ("converter.driver", "x", ["'x' is not known; allowed: infy_beg_v104"]),
        ("converter.controller_address", 0x20, ["240 to 248"]),
        ("converter.bus", "main", ["[converter] bus = 'main' is not defined; buses: power, vehicle"]),
        ("vehicle.bus", "power", ["must not be the converter's bus"]),
        ("bus.power.interface", "pcan", ["socketcan, slcan, udp_multicast, virtual"]),
        ("bus.power.bitrate", 100_000, ["125000, 250000"]),
        ("bus.power.port", ..., ["port belongs to interface udp_multicast"]),
        ("bus.power.channel", "224.0.0.1", ["239.0.0.0/8"]),
        ("bus.power.channel", "ff02::1", ["239.0.0.0/8"]),
        (
            "bus.third",
            _can("virtual", "x"),
            ["[bus.third] is used by no device"],
        ),
        ("policy.idle_power_w", 30000, ["outside the ratings; allowed: -22000 to 22000 W"]),
        ("policy.lease_s", 9, ["0.5 to 5 s"]),
        ("limits.insulation_min_ohm", 50_000, ["100000 to 600000 ohm"]),
        ("limits.ramp_a_per_s", 10, ["20 to 200 A/s"]),
        ("pilot.port", "/dev/ttyUSB0", ["[pilot] port", "must lie in {run}/"]),
        ("insulation.port", "{run}/pilot", ["already the port of [pilot]"]),
        ("dc_meter.address", 0, ["1 to 247"]),
        ("dc_meter.parity", "X", ["N, E, O"]),
        ("rig.source", "230", ["VOLTS,HERTZ, replay or replay:START_S"]),
        ("rig.plug_in_after_s", -1, ["0 to 3600 s"]),
        ("grid.adjust", 5, ["[grid.adjust] must be a section"]),
        ("grid.adjust", {"enter_service": {"delay_s": "now"}}, ["enter_service.delay_s", "finite number"]),
        ("grid.adjust", {"a": True}, ["finite number"]),
    ],
)
def test_a_mistake_is_refused_with_a_sentence_that_names_it(path: str, value: Any, words: list[str]) -> None:
    text = refusal(changed(path, value))
    for word in words:
        assert word in text


def test_two_buses_may_not_be_the_same_wire() -> None:
    document = copy.deepcopy(DESK)
    document["bus"]["vehicle"] |= {"channel": "239.74.163.2", "port": 43113}
    assert "are the same bus" in refusal(document)


def test_devices_on_one_line_need_one_setting_and_different_addresses() -> None:
    document = copy.deepcopy(BEG22)
    document["dc_meter"]["baud"] = 19200
    assert "one RS-485 line has one baud rate and parity" in refusal(document)
    document = copy.deepcopy(BEG22)
    document["dc_meter"]["address"] = 1
    assert "already the address of [ac_meter]" in refusal(document)


@pytest.mark.parametrize(
    ("base", "path", "value", "words"),
    [
        (
            DESK,
            "bus.power",
            _can("socketcan", "can0"),
            "may not touch a real CAN",
        ),
        (BEG22, "bus.power", _can("socketcan", "vcan0"), "needs a real one"),
        (BEG22, "bus.power", DESK["bus"]["power"], "only for emulated boards"),
        (BEG22, "pilot.port", "{run}/pilot", "must be a real serial port"),
        (BEG22, "rig", {"module": "hil.rig"}, "only for emulated boards"),
    ],
)
def test_a_desk_never_reaches_a_real_charger_and_a_charger_never_runs_on_a_desk(
    base: dict[str, Any], path: str, value: Any, words: str
) -> None:
    assert words in refusal(changed(path, value, base))


def test_reserved_and_unknown_names_are_told_apart() -> None:
    for name, words in (
        ("bic2200", "reserved for the Mean Well BIC-2200"),
        ("some/dir/bic2200.toml", "reserved"),
        ("nothing", "There is no board 'nothing'; boards: beg22, desk, desk_can"),
        ("./nothing.toml", "There is no board file ./nothing.toml"),
    ):
        with pytest.raises(boards.BoardError, match=r"\.$") as caught:
            boards.load(name)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"), [(b"[board\n", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), (b"", "[board] is missing")]
)
def test_a_file_that_is_no_board_is_refused_with_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(boards.BoardError) as caught:
        boards.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", boards.names())
def test_what_is_shown_can_be_loaded_again_and_means_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "again.toml"
    path.write_text(boards.describe(boards.load(name)))
    assert boards.effective(boards.load(path)) == boards.effective(boards.load(name))


def test_effective_values_contain_the_defaults_that_a_file_leaves_out() -> None:
    assert "limits" not in DESK
    assert boards.effective(boards.load("desk"))["limits"]["ramp_a_per_s"] == 25.0


EVEREST: dict[str, Any] = tomllib.loads((HERE / "desk_everest.toml").read_text())


@pytest.mark.parametrize(
    ("base", "path", "value", "says"),
    [
        (EVEREST, "everest.host", "192.168.1.7", "takes only a broker of this machine"),
        (EVEREST, "everest.heartbeat_s", 0.0, "allowed: 0.05 to 5 s"),
        (EVEREST, "everest.power_supply", "psu/e2m", "must be the name of a module"),
        (EVEREST, "everest.power_supply", "", "must be the name of a module"),
        (EVEREST, "everest.password", "secret", "unknown key 'password'"),
        (EVEREST, "vehicle.interface", "lo", "[vehicle] interface belongs to driver 'iso15118'"),
        (DESK, "everest", EVEREST["everest"], "[everest] belongs to [vehicle] driver = 'everest'"),
    ],
)
def test_an_everest_whose_parts_do_not_fit_is_refused(base: dict[str, Any], path: str, value: Any, says: str) -> None:
    assert says in refusal(changed(path, value, base))


def test_an_everest_on_another_machine_is_for_real_boards_only() -> None:
    real = changed("vehicle", {"driver": "everest"}, BEG22) | {"everest": EVEREST["everest"] | {"host": "10.0.0.2"}}
    real["bus"] = {name: bus for name, bus in BEG22["bus"].items() if name == BEG22["converter"]["bus"]}
    board = parse(real, "file.toml", "/run/q")
    assert board.everest is not None
    assert board.everest.host == "10.0.0.2"
    assert "is needed by [vehicle] driver" in refusal({k: v for k, v in real.items() if k != "everest"})


BACK_END = {"url": "ws://127.0.0.1:9000/ocpp", "identity": "CP-1", "security": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"security": 2}, "wss://"),
        ({"url": "wss://csms.example"}, "goes with ws://"),
        ({"fallback_url": "wss://csms.example"}, "[ocpp] fallback_url"),
        ({"security": 1}, "password_file is needed by security profile 1"),
        ({"ca_file": "x.pem"}, "ca_file is not used in security profile 0"),
        ({"security": 4}, "allowed: 0, 1, 2, 3"),
        ({"identity": "a/b"}, "1 to 48"),
        ({"url": "ws://user:pw@host"}, "ws://HOST"),
        ({"versions": "2.1, 3.0"}, "of 2.1"),
        ({"heartbeat": 5}, "unknown key 'heartbeat'"),
    ],
)
def test_a_back_end_whose_parts_do_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    assert parse(DESK | {"ocpp": BACK_END}, "file.toml", "/run/q").ocpp is not None
    assert says in refusal(DESK | {"ocpp": BACK_END | change})


_NUMBERS = [
    (section, field.name, field.metadata["rule"])
    for section, (kind, _) in SECTIONS.items()
    for field in dataclasses.fields(kind)
    if kind is not Bus and (field.metadata["rule"].low is not None or field.metadata["rule"].above is not None)
]


@given(st.sampled_from(_NUMBERS), st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_taken_exactly_when_it_is_inside_its_own_bounds(key: tuple[str, str, Rule], number: float) -> None:
    section, name, rule = key
    low = rule.low if rule.low is not None else math.nextafter(rule.above or 0.0, math.inf)
    inside = low <= number <= (math.inf if rule.high is None else rule.high) and math.isfinite(number)
    base = {section: {}} | copy.deepcopy(DESK)
    if section == "ocpp":
        base["ocpp"] = dict(BACK_END)
    if section == "mqtt":
        base["mqtt"] = {"host": "127.0.0.1"}
    if section == "everest":
        base = copy.deepcopy(EVEREST)
    board, text = read(changed(f"{section}.{name}", number, base))
    if board is not None:
        assert inside
        assert getattr(getattr(board, section), name) == number
    else:
        # Out of its own bounds, not a whole number, or in contradiction to another key: each a sentence.
        assert text.endswith(".")
        assert not inside or "must be a whole number" in text or "outside the ratings" in text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SECTIONS)), _JSON)
def test_whatever_stands_in_a_section_it_is_read_or_refused_never_a_crash(section: str, content: Any) -> None:
    document = copy.deepcopy(DESK) | {section: content}
    board, text = read(document)
    assert (board is None) == bool(text)
    assert "\n" not in text


def test_the_manual_of_boards_is_current() -> None:
    assert table() in DOCS.read_text(), "docs/boards.md is old; run: python -m boards.docs"


def test_the_two_desks_differ_in_the_vehicle_side_only() -> None:
    speaking, on_can = boards.effective(boards.load("desk")), boards.effective(boards.load("desk_can"))
    assert {name for name in speaking if speaking[name] != on_can[name]} == {"board", "bus", "vehicle"}
    assert speaking["bus"] == {name: bus for name, bus in on_can["bus"].items() if name != "vehicle"}
    assert (speaking["vehicle"]["driver"], on_can["vehicle"]["driver"]) == ("iso15118", "secc_bridge_v3")
