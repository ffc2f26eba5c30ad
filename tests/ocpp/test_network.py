"""Ways to the back end: back-off, fall-back, and what no profile may be."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp.network import Backoff, NetworkError, Profile, Ways, check, downgrade

PASSWORD = "0123456789abcdef"
CA = Path("ca.pem")


@given(st.integers(0, 2**32), st.floats(0, 100), st.floats(0, 100), st.integers(0, 8))
def test_waits_double_with_a_random_part_so_many_times_and_then_stay(
    seed: int, minimum_s: float, range_s: float, repeat: int
) -> None:
    backoff = Backoff(random.Random(seed), minimum_s, range_s, repeat)
    waits = [backoff.next_s() for _ in range(repeat + 4)]
    assert minimum_s <= waits[0] <= minimum_s + range_s
    for before, after in itertools.pairwise(waits[: repeat + 1]):
        assert 2 * before <= after <= 2 * before + range_s
    assert set(waits[repeat:]) == {waits[repeat]}
    backoff.reset()
    assert minimum_s <= backoff.next_s() <= minimum_s + range_s


def profile(**changes: Any) -> Profile:
    return Profile(**{"url": "ws://127.0.0.1:9000/ocpp", "identity": "CP-1", "security": 0, **changes})


GOOD = [
    profile(),
    profile(url="ws://csms.example", security=1, password=PASSWORD),
    profile(url="wss://csms.example/a/", security=2, password=PASSWORD, ca_file=CA),
    profile(url="wss://csms.example", security=3, ca_file=CA, cert_file=CA, key_file=CA),
]


def test_profiles_that_fit() -> None:
    for good in GOOD:
        check(good)
    assert GOOD[2].uri == "wss://csms.example/a/CP-1"
    assert profile(identity="a*b@c").uri.endswith("/a%2Ab%40c")
    assert GOOD[1].headers() == {"Authorization": "Basic Q1AtMTowMTIzNDU2Nzg5YWJjZGVm"}
    assert GOOD[0].headers() == GOOD[3].headers() == {}


def test_a_password_is_never_shown() -> None:
    assert PASSWORD not in repr(GOOD[1])
    assert PASSWORD not in f"{GOOD[1]}"


@pytest.mark.parametrize(
    ("good", "change", "says"),
    [
        (0, {"url": "http://127.0.0.1"}, "ws://"),
        (0, {"url": "ws:///x"}, "name a host"),
        (0, {"url": "ws://u:p@127.0.0.1"}, "no user"),
        (0, {"url": "ws://127.0.0.1?x=1"}, "query"),
        (0, {"identity": ""}, "1 to 48"),
        (0, {"identity": "a" * 49}, "1 to 48"),
        (0, {"identity": "a/b"}, "letters"),
        (0, {"url": "ws://csms.example"}, "loopback"),
        (0, {"password": PASSWORD}, "no password"),
        (0, {"security": 2, "ca_file": CA, "password": PASSWORD}, "wss"),
        (1, {"url": "wss://csms.example"}, "goes with ws"),
        (1, {"password": "short"}, "16 to 40"),
        (1, {"password": "x" * 41}, "16 to 40"),
        (1, {"password": PASSWORD + "\n"}, "printable"),
        (1, {"identity": "a:b"}, "colon"),
        (2, {"ca_file": None}, "ca_file"),
        (2, {"cert_file": CA, "key_file": CA}, "security profile 3"),
        (3, {"key_file": None}, "security profile 3"),
    ],
)
def test_profiles_that_do_not_fit(good: int, change: dict[str, Any], says: str) -> None:
    fields = {name: getattr(GOOD[good], name) for name in Profile.__slots__}
    with pytest.raises(NetworkError, match=says):
        check(Profile(**{**fields, **change}))


def test_after_so_many_failures_in_a_row_the_next_way_is_tried_and_then_the_first_again() -> None:
    ways = Ways([GOOD[2], profile(url="wss://b.example", security=2, password=PASSWORD, ca_file=CA)], attempts=2)
    seen = []
    for _ in range(5):
        seen.append(ways.current.url[6])
        ways.failed()
    assert "".join(seen) == "ccbbc"
    ways.stood()
    ways.failed()
    assert ways.current.url[6] == "c"
    ways.failed()
    assert ways.current.url[6] == "b"


def test_a_fall_back_may_not_be_less_secure() -> None:
    with pytest.raises(NetworkError, match="below"):
        Ways([GOOD[3], GOOD[2]])
    Ways([GOOD[2], GOOD[3]])
    with pytest.raises(NetworkError, match="no way"):
        Ways([])
    assert [downgrade(2, wanted) for wanted in range(4)] == [True, True, False, False]
