"""The RPC engine: what it answers, what it believes, what it never does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bridges.ocpp.dialect import V16, V21, V201, Code, Dialect
from firmware.bridges.ocpp.frames import MAX_FRAME_CHARS
from firmware.bridges.ocpp.rpc import (
    DISCONNECTED,
    MAX_OPEN,
    NO_ANSWER,
    Answered,
    Asked,
    Busy,
    Failed,
    InvalidOwnMessage,
    Noise,
    ResultRefused,
    Rpc,
)
from tests.ocpp.wire import ALL, TIME, engine, heard

TWO = (V201, V21)
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
two = pytest.mark.parametrize("dialect", TWO, ids=lambda dialect: dialect.name)


def calling(dialect: Dialect, now: float = 0.0) -> Rpc:
    rpc = engine(dialect)
    rpc.call(now, "Heartbeat", {})
    return rpc


@all_versions
def test_a_call_and_its_answer(dialect: Dialect) -> None:
    rpc = engine(dialect)
    assert json.loads(rpc.call(1.0, "Heartbeat", {})) == [2, "id-1", "Heartbeat", {}]
    assert rpc.busy
    out, events = heard(rpc, [3, "id-1", {"currentTime": TIME}], now=1.5)
    assert (out, events) == ([], [Answered("id-1", "Heartbeat", {}, {"currentTime": TIME}, 0.5)])
    assert not rpc.busy


@all_versions
def test_only_one_call_is_open_at_a_time(dialect: Dialect) -> None:
    with pytest.raises(Busy):
        calling(dialect).call(0.0, "Heartbeat", {})


@all_versions
def test_a_call_without_an_answer_fails_at_its_time_and_a_late_answer_is_noise(dialect: Dialect) -> None:
    rpc = calling(dialect, now=10.0)
    assert rpc.tick(39.999) == []
    (failed,) = rpc.tick(40.0)
    assert isinstance(failed, Failed)
    assert failed.code == NO_ANSWER
    assert not rpc.busy
    out, events = heard(rpc, [3, "id-1", {"currentTime": TIME}])
    assert out == []
    assert isinstance(events[0], Noise)


@all_versions
def test_a_connection_that_ends_fails_the_open_call_and_forgets_what_was_asked(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    rpc.call(0.0, "Heartbeat", {})
    heard(rpc, [2, "x", "ClearCache", {}])
    (failed,) = rpc.reset()
    assert isinstance(failed, Failed)
    assert failed.code == DISCONNECTED
    assert rpc.reset() == []
    assert rpc.reply("x", {"status": "Accepted"}) is None
    assert rpc.refuse("x", Code.GENERIC, "") is None


@all_versions
def test_a_supported_call_is_handed_over_and_answered(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    assert heard(rpc, [2, "x", "ClearCache", {}]) == ([], [Asked("x", "ClearCache", {}, True)])
    answer = rpc.reply("x", {"status": "Accepted"})
    assert answer is not None
    assert json.loads(answer) == [3, "x", {"status": "Accepted"}]


@all_versions
def test_an_unknown_action_is_not_implemented_and_a_known_one_without_handler_not_supported(dialect: Dialect) -> None:
    rpc = engine(dialect)
    assert heard(rpc, [2, "a", "MakeCoffee", {}])[0][0][:3] == [4, "a", "NotImplemented"]
    assert heard(rpc, [2, "b", "ClearCache", {}])[0][0][:3] == [4, "b", "NotSupported"]


@all_versions
def test_a_bad_payload_gets_the_code_of_its_fault_in_the_spelling_of_the_version(dialect: Dialect) -> None:
    rpc = engine(dialect, "DataTransfer")
    good = {"vendorId": "v"}
    occurrence = "OccurenceConstraintViolation" if dialect is V16 else "OccurrenceConstraintViolation"
    extra = "FormationViolation" if dialect is V16 else "FormatViolation"
    cases: list[tuple[Any, str]] = [
        ({}, occurrence),
        ({"vendorId": 1}, "TypeConstraintViolation"),
        ({"vendorId": "v" * 256}, "PropertyConstraintViolation"),
        ({**good, "x": 1}, extra),
        ([], extra),
        ("text", extra),
    ]
    for number, (payload, code) in enumerate(cases):
        out, events = heard(rpc, [2, str(number), "DataTransfer", payload])
        assert out[0][:3] == [4, str(number), code], payload
        assert isinstance(events[-1], Noise)
    assert heard(rpc, [2, "good", "DataTransfer", good])[1] == [Asked("good", "DataTransfer", good, True)]


@all_versions
def test_null_is_an_empty_payload(dialect: Dialect) -> None:
    assert heard(engine(dialect, "ClearCache"), [2, "x", "ClearCache", None])[1][0].payload == {}


UNREADABLE = ["", "[", "null", "{}", "[]", "7", '"text"', "[2]", '[2,""]', '[2,5,"A",{}]', "[2,null]", '["2","a"]']


@two
@pytest.mark.parametrize("text", UNREADABLE)
def test_what_has_no_readable_id_is_answered_under_minus_one(dialect: Dialect, text: str) -> None:
    out, events = heard(engine(dialect), text)
    assert out[0][:3] == [4, "-1", "RpcFrameworkError"]
    assert isinstance(events[0], Noise)


@pytest.mark.parametrize("text", UNREADABLE)
def test_version_1_6_does_not_answer_what_has_no_readable_id(text: str) -> None:
    assert heard(engine(V16), text)[0] == []


@all_versions
@pytest.mark.parametrize("frame", [[2, "a"], [2, "a", "ClearCache"], [2, "a", 5, {}], [2, "a", "ClearCache", {}, 1]])
def test_a_call_of_the_wrong_shape_is_refused_under_its_own_id(dialect: Dialect, frame: list[Any]) -> None:
    out, _ = heard(engine(dialect, "ClearCache"), frame)
    assert out[0][:3] == [4, "a", "FormationViolation" if dialect is V16 else "RpcFrameworkError"]


@all_versions
def test_a_message_id_may_have_36_characters_and_no_more(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    assert isinstance(heard(rpc, [2, "i" * 36, "ClearCache", {}])[1][0], Asked)
    out, _ = heard(rpc, [2, "i" * 37, "ClearCache", {}])
    assert out[0][:3] == [4, "i" * 37, dialect.code(Code.RPC)]


@all_versions
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_know_never_arrives(dialect: Dialect, number: str) -> None:
    rpc = engine(dialect, "DataTransfer")
    assert not any(isinstance(e, Asked) for e in heard(rpc, f'[2,"a","DataTransfer",{{"x":{number}}}]')[1])


@all_versions
@pytest.mark.parametrize("text", ["[" * 100_000, '[2,"a","DataTransfer",' + "[" * 40 + "]" * 40 + "]"])
def test_deep_nesting_and_long_frames_are_dropped(dialect: Dialect, text: str) -> None:
    rpc = engine(dialect, "DataTransfer")
    assert not any(isinstance(event, Asked) for event in heard(rpc, text)[1])
    assert not any(isinstance(event, Asked) for event in heard(rpc, " " * (MAX_FRAME_CHARS + 1))[1])


@all_versions
def test_half_a_surrogate_pair_is_refused(dialect: Dialect) -> None:
    rpc = engine(dialect, "DataTransfer")
    _, events = heard(rpc, '[2,"a","DataTransfer",{"vendorId":"\\ud800"}]')
    assert isinstance(events[0], Noise)


@all_versions
def test_the_same_call_twice_is_carried_out_once_and_answered_twice(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    call = [2, "x", "ClearCache", {}]
    heard(rpc, call)
    assert not any(isinstance(event, Asked) for event in heard(rpc, call)[1])  # while we still work on it
    answer = rpc.reply("x", {"status": "Accepted"})
    out, events = heard(rpc, call)
    assert answer is not None
    assert out == [json.loads(answer)]
    assert not any(isinstance(event, Asked) for event in events)


@all_versions
def test_another_call_under_a_used_id_is_refused(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache", "DataTransfer")
    heard(rpc, [2, "x", "ClearCache", {}])
    other = [2, "x", "DataTransfer", {"vendorId": "v"}]
    assert heard(rpc, other)[0][0][:3] == [4, "x", dialect.code(Code.RPC)]
    rpc.reply("x", {"status": "Accepted"})
    assert heard(rpc, other)[0][0][:3] == [4, "x", dialect.code(Code.RPC)]


@all_versions
def test_a_peer_that_floods_us_with_calls_is_bounded(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    for n in range(MAX_OPEN):
        assert isinstance(heard(rpc, [2, f"x{n}", "ClearCache", {}])[1][0], Asked)
    assert heard(rpc, [2, "more", "ClearCache", {}])[0][0][:3] == [4, "more", "GenericError"]


@all_versions
def test_a_refused_call_fails_with_the_peers_words_even_when_details_are_missing(dialect: Dialect) -> None:
    for tail in (["InternalError", "no", {}], ["InternalError", "no"], ["InternalError"], []):
        rpc = calling(dialect)
        (failed,) = heard(rpc, [4, "id-1", *tail])[1]
        assert isinstance(failed, Failed)
        assert failed.code == ("InternalError" if tail else "GenericError")
        assert not rpc.busy


@all_versions
def test_answers_to_nothing_change_nothing(dialect: Dialect) -> None:
    rpc = calling(dialect)
    for frame in ([3, "other", {"currentTime": TIME}], [4, "other", "GenericError", "", {}], [3, "-1", {}]):
        out, events = heard(rpc, frame)
        assert out == []
        assert all(isinstance(event, Noise) for event in events)
    assert rpc.busy


@all_versions
def test_a_bad_answer_fails_the_call_and_only_2_1_says_so(dialect: Dialect) -> None:
    out, (failed,) = heard(calling(dialect), [3, "id-1", {"currentTime": "yesterday"}])
    assert isinstance(failed, Failed)
    assert failed.code == "PropertyConstraintViolation"
    assert out == ([[5, "id-1", failed.code, failed.description, {}]] if dialect is V21 else [])


@all_versions
@pytest.mark.parametrize("frame", [[3, "id-1"], [3, "id-1", []], [3, "id-1", {}, {}]])
def test_a_malformed_answer_fails_its_call_at_once(dialect: Dialect, frame: list[Any]) -> None:
    rpc = calling(dialect)
    _, events = heard(rpc, frame)
    assert isinstance(events[0], Failed)
    assert not rpc.busy


@all_versions
def test_we_never_send_what_breaks_the_schema(dialect: Dialect) -> None:
    rpc = engine(dialect, "ClearCache")
    for action, payload in (("Heartbeat", {"x": 1}), ("MakeCoffee", {}), ("DataTransfer", {"vendorId": float("nan")})):
        with pytest.raises(InvalidOwnMessage):
            rpc.call(0.0, action, payload)
        assert not rpc.busy
    heard(rpc, [2, "x", "ClearCache", {}])
    with pytest.raises(InvalidOwnMessage) as caught:
        rpc.reply("x", {"status": "Perhaps"})
    assert caught.value.instead is not None
    assert json.loads(caught.value.instead)[:3] == [4, "x", "InternalError"]


EVENTS = {"id": 1, "pending": 0, "basetime": TIME, "data": [{"t": 0.5, "v": "1"}]}


def test_send_exists_in_2_1_only_and_is_never_answered() -> None:
    rpc = engine(V21, "NotifyPeriodicEventStream")
    assert json.loads(rpc.send("NotifyPeriodicEventStream", EVENTS))[0] == 6
    assert not rpc.busy
    out, (asked,) = heard(rpc, [6, "s", "NotifyPeriodicEventStream", EVENTS])
    assert (out, asked) == ([], Asked("s", "NotifyPeriodicEventStream", EVENTS, False))
    for bad in (
        [6, "s", "NotifyPeriodicEventStream", {}],
        [6, "s", "MakeCoffee", {}],
        [6, "s"],
        [6, "s", "Heartbeat", {}],
    ):
        out, (noise,) = heard(rpc, bad)
        assert out == []
        assert isinstance(noise, Noise)
    with pytest.raises(InvalidOwnMessage):
        rpc.call(0.0, "NotifyPeriodicEventStream", EVENTS)
    with pytest.raises(InvalidOwnMessage):
        rpc.send("Heartbeat", {})
    assert heard(rpc, [2, "c", "NotifyPeriodicEventStream", EVENTS])[0][0][2] == "NotSupported"
    assert heard(engine(V201), [6, "s", "NotifyPeriodicEventStream", EVENTS])[0][0][2] == "MessageTypeNotSupported"
    assert heard(engine(V16), [6, "s", "NotifyPeriodicEventStream", EVENTS])[0] == []


def test_a_refused_answer_of_ours_is_told() -> None:
    _, (event,) = heard(engine(V21), [5, "x", "FormatViolation", "bad", {}])
    assert event == ResultRefused("x", "FormatViolation", "bad")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
near = st.tuples(
    st.sampled_from([2, 3, 4, 5, 6, 7, True, 2.0]) | anything,
    st.sampled_from(["id-1", "x", "", "-1"]) | anything,
    st.sampled_from(["Heartbeat", "ClearCache", "DataTransfer", "SetDERControl"]) | anything,
    anything,
).map(list)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ALL), st.lists(near | anything | st.text(max_size=20), min_size=1, max_size=6))
def test_whatever_arrives_the_engine_goes_on_and_answers_in_good_frames(dialect: Dialect, frames: list[Any]) -> None:
    rpc = engine(dialect, "ClearCache", "DataTransfer")
    rpc.call(0.0, "Heartbeat", {})
    for frame in frames:
        out, events = heard(rpc, frame)
        for answer in out:
            assert answer[0] in {kind.value for kind in dialect.kinds} - {2, 3, 6}
            assert len(answer) == 5
        for event in events:
            assert not isinstance(event, Asked) or event.action in ("ClearCache", "DataTransfer")
            assert not isinstance(event, Answered) or event.id == "id-1"
    rpc.tick(100.0)
    rpc.call(100.0, "Heartbeat", {})
