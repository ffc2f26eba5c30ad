"""The reduced codec says what cantools says, for every message of the data bases that it is used for."""

from __future__ import annotations

import math
from pathlib import Path

import cantools.database
import pytest
from cantools.database import EncodeError
from cantools.database.can import Database, Message
from hypothesis import given
from hypothesis import strategies as st

import hal
from hal.dbc import SLACK, Codec

_HAL = Path(hal.__file__).parent


def _messages() -> list[Message]:
    found: list[Message] = []
    for name in ("uart/pilot_mcu.dbc", "can/secc_bridge_v3.dbc"):
        database = cantools.database.load_file(_HAL / name, strict=True)
        assert isinstance(database, Database)
        found += database.messages
    return found


MESSAGES = {message.name: message for message in _messages()}
CODECS = {name: Codec(message) for name, message in MESSAGES.items()}
names = st.sampled_from(sorted(MESSAGES))


def _possible(message: Message, fields: dict[str, float]) -> bool:
    for signal in message.signals:
        value = fields[signal.name]
        if signal.minimum is not None and value < signal.minimum - SLACK:
            return False
        if signal.maximum is not None and value > signal.maximum + SLACK:
            return False
        if signal.choices and value not in signal.choices:
            return False
    return True


@given(names, st.data())
def test_every_payload_decodes_as_cantools_decodes_it_or_is_refused_for_its_range(
    name: str, data: st.DataObject
) -> None:
    message = MESSAGES[name]
    payload = data.draw(st.binary(min_size=message.length, max_size=message.length))
    fields = message.decode(payload, decode_choices=False)
    assert isinstance(fields, dict)
    assert CODECS[name].decode(payload) == (fields if _possible(message, fields) else None)  # type: ignore[arg-type]


@given(names, st.data())
def test_every_value_in_range_encodes_to_the_bytes_of_cantools(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    fields: dict[str, float] = {}
    for signal in message.signals:
        low, high = signal.minimum, signal.maximum
        assert low is not None
        assert high is not None
        value = st.booleans() | st.integers(math.ceil(low), math.floor(high)) | st.floats(low, high)
        fields[signal.name] = data.draw(value.filter(lambda v, low=low, high=high: low <= v <= high))  # type: ignore[misc]
    assert CODECS[name].encode(fields) == bytes(message.encode(fields, strict=True))


@given(names, st.data())
def test_what_it_encodes_it_decodes_within_half_a_step(name: str, data: st.DataObject) -> None:
    message = MESSAGES[name]
    fields = {s.name: data.draw(st.floats(s.minimum, s.maximum)) for s in message.signals}
    if any(s.choices for s in message.signals):
        fields |= {s.name: float(data.draw(st.sampled_from(sorted(s.choices)))) for s in message.signals if s.choices}
    decoded = CODECS[name].decode(CODECS[name].encode(fields))
    assert decoded is not None
    for signal in message.signals:
        assert abs(decoded[signal.name] - fields[signal.name]) <= 0.5 * signal.scale + SLACK


@pytest.mark.parametrize("value", [100.2, -0.2, math.nan, math.inf])
def test_a_value_out_of_range_is_refused_by_cantools_own_words(value: float) -> None:
    fields = {s.name: 0.0 for s in MESSAGES["PM_Control"].signals} | {"Ctl_TargetDuty": value}
    with pytest.raises((EncodeError, ValueError, OverflowError)):
        CODECS["PM_Control"].encode(fields)


def test_a_missing_and_an_unknown_field_are_refused() -> None:
    fields = {s.name: 0.0 for s in MESSAGES["PM_Control"].signals}
    missing = dict(fields)
    del missing["Ctl_Sequence"]
    for wrong in (missing, fields | {"Ctl_Nothing": 1.0}, missing | {"Ctl_Nothing": 1.0}):
        with pytest.raises(EncodeError):
            CODECS["PM_Control"].encode(wrong)


def test_a_payload_of_another_length_is_none() -> None:
    assert CODECS["PM_Control"].decode(bytes(7)) is None
    assert CODECS["PM_Control"].decode(bytes(9)) is None
