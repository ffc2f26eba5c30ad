"""Who may charge: the back end, the list, the cache; with the back end there and away. No token is on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.authorization import Authorization
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.id_tokens import CACHE_MAX, MAX_ENTRIES, Known, ListRefused, token_16
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.tunables import Tunables
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, station
from tests.ocpp.test_remote import TOKEN, Desk
from tests.ocpp.wire import ALL

TWO = pytest.mark.parametrize("dialect", [V201, V21], ids=lambda dialect: dialect.name)
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)


def desk(dialect: Dialect, status: str | None = "Accepted", **tune: Any) -> Desk:
    """A charger where a token is needed and remote starts are asked for; the back end says `status` to each."""
    made = Desk(dialect, tune=Tunables(**{"authorize": True, "authorize_remote": True, **tune}))
    info = {"status": status}
    made.peer.answers["Authorize"] = None if status is None else {"idTokenInfo" if dialect.two else "idTagInfo": info}
    return made


def send(made: Desk, version: int, entries: list[tuple[str, str | None]], full: bool = True, **info: Any) -> str:
    kind = "Full" if full else "Differential"
    if made.dialect.two:
        listed = [
            {"idToken": {"idToken": token, "type": "Central"}}
            | ({} if status is None else {"idTokenInfo": {"status": status, **info}})
            for token, status in entries
        ]
        payload: dict[str, Any] = {"versionNumber": version, "updateType": kind}
    else:
        listed = [
            {"idTag": token} | ({} if status is None else {"idTagInfo": {"status": status, **info}})
            for token, status in entries
        ]
        payload = {"listVersion": version, "updateType": kind}
    return str(made.ask("SendLocalList", payload | ({"localAuthorizationList": listed} if listed else {}))["status"])


def version(made: Desk) -> int:
    answer = made.ask("GetLocalListVersion", {})
    return int(answer["versionNumber" if made.dialect.two else "listVersion"])


# ------------------------------------------------------------------------------------------------------------ sessions
@all_versions
def test_without_a_token_there_is_no_session_and_with_one_it_is_the_tokens(dialect: Dialect) -> None:
    made = desk(dialect)
    made.see(Phase.PLUGGED)
    assert made.charger.transactions.id is None
    assert "authorized" in made.held()
    assert made.start() == "Accepted"
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    assert len(made.peer.told("Authorize")) == 1
    assert made.held() == ""
    if dialect.two:
        first = made.events()[0]
        assert (first["eventType"], first["triggerReason"], first["idToken"]) == ("Started", "RemoteStart", TOKEN)
    else:
        assert made.peer.told("StartTransaction")[0]["idTag"] == TOKEN["idToken"]
    made.see(Phase.FREE)
    made.see(Phase.PLUGGED)
    assert "authorized" in made.held()  # the next car is another one's


@all_versions
@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_a_token_that_the_back_end_does_not_want_starts_nothing(dialect: Dialect, status: str) -> None:
    made = desk(dialect, status)
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    assert made.charger.transactions.id is None
    assert "authorized" in made.held()


@all_versions
def test_a_refusal_of_the_question_itself_starts_nothing(dialect: Dialect) -> None:
    made = desk(dialect, None, unknown_offline=True)
    made.peer.answers["Authorize"] = "InternalError"
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    assert made.charger.transactions.id is None


@all_versions
def test_what_is_listed_or_cached_is_not_asked_for(dialect: Dialect) -> None:
    made = desk(dialect, None)
    assert send(made, 1, [("aLICE-1", "Accepted")]) == "Accepted"  # case does not count
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    assert made.charger.transactions.authorized
    assert not made.peer.told("Authorize")


@all_versions
def test_a_listed_token_that_is_blocked_is_asked_for_and_may_be_free_again(dialect: Dialect) -> None:
    made = desk(dialect)
    send(made, 1, [("Alice-1", "Blocked")])
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    assert made.peer.told("Authorize")
    assert made.charger.transactions.authorized


@all_versions
@pytest.mark.parametrize(
    ("tune", "listed", "starts"),
    [
        ({}, None, False),
        ({"unknown_offline": True}, None, True),
        ({"unknown_offline": True, "local_pre": False}, "Blocked", False),
        ({"local_pre": False}, "Accepted", True),
        ({"local_pre": False, "local_offline": False}, "Accepted", False),
        ({"local_pre": False, "local_list": True}, "Expired", False),
    ],
)
def test_when_the_back_end_goes_away_before_it_answers_the_offline_rules_count(
    dialect: Dialect, tune: dict[str, Any], listed: str | None, starts: bool
) -> None:
    made = desk(dialect, None, **tune)
    if listed is not None:
        send(made, 1, [("Alice-1", listed)])
    made.start()
    made.see(Phase.PLUGGED)
    assert made.peer.told("Authorize")
    assert made.charger.transactions.id is None
    made.charger.disconnected(made.now)
    made.now += 1.0
    made.charger.observe(made.charger.view)
    assert (made.charger.transactions.id is not None) is starts


@all_versions
def test_the_cache_is_used_ends_by_its_time_and_can_be_cleared(dialect: Dialect) -> None:
    made = desk(dialect, cache_s=100.0)

    def session() -> int:
        before = len(made.peer.told("Authorize"))
        assert made.start() == "Accepted"
        made.see(Phase.PLUGGED)
        made.see(Phase.PLUGGED)
        assert made.charger.transactions.authorized
        made.see(Phase.FREE)
        return len(made.peer.told("Authorize")) - before

    assert session() == 1
    assert session() == 0
    made.now += 100.0
    made.see(Phase.FREE)
    assert session() == 1
    assert made.ask("ClearCache", {}) == {"status": "Accepted"}
    assert session() == 1
    made.charger.tune.cache = False
    assert made.ask("ClearCache", {}) == {"status": "Rejected"}
    assert session() == 1


@all_versions
@pytest.mark.parametrize("stops", [True, False])
def test_a_token_that_turns_out_invalid_ends_the_session_or_its_power(dialect: Dialect, stops: bool) -> None:
    made = desk(dialect, stop_on_invalid=stops)
    if dialect.two:
        made.peer.answers["TransactionEvent"] = {"idTokenInfo": {"status": "Blocked"}}
    else:
        made.peer.answers["StartTransaction"] = {"transactionId": 17, "idTagInfo": {"status": "Blocked"}}
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.STARTING)
    made.see(Phase.STARTING)
    assert made.held()
    made.see(Phase.ENDED)
    if stops:
        ended = made.peer.told("TransactionEvent" if dialect.two else "StopTransaction")[-1]
        reason = ended["transactionInfo"]["stoppedReason"] if dialect.two else ended["reason"]
        assert reason == "DeAuthorized"
    else:
        assert made.charger.transactions.id is not None
        assert "does not accept" in made.held()
        again, _, _ = station(made.box)  # nor after a restart
        again.observe(made.charger.view)  # type: ignore[arg-type]
        assert "does not accept" in again.orders(made.now).hold


@all_versions
def test_where_nobody_needs_to_be_authorized_what_the_back_end_thinks_of_nobody_is_not_looked_at(
    dialect: Dialect,
) -> None:
    made = Desk(dialect)
    made.peer.answers["TransactionEvent"] = {"idTokenInfo": {"status": "Invalid"}}
    made.peer.answers["StartTransaction"] = {"transactionId": 17, "idTagInfo": {"status": "Invalid"}}
    made.see(Phase.CHARGING)
    made.see(Phase.CHARGING)
    assert made.held() == ""


# ------------------------------------------------------------------------------------------------------------ the list
@all_versions
def test_the_list_is_replaced_changed_and_kept_over_power(dialect: Dialect) -> None:
    box = Outbox(":memory:")
    made = Desk(dialect, outbox=box)
    assert version(made) == 0
    assert send(made, 5, [("a", "Accepted"), ("b", "Accepted")]) == "Accepted"
    assert send(made, 5, [("c", "Accepted")], full=False) == "VersionMismatch"
    assert send(made, 6, [("a", None), ("c", "Blocked")], full=False) == "Accepted"
    again = Desk(dialect, outbox=box)
    assert version(again) == 6
    known = next(f for f in again.charger.functions if isinstance(f, Authorization))
    assert known.report(0.0) == {"local_list": {"version": 6, "entries": 2}}
    assert send(again, 2, []) == "Accepted"  # a full list without entries clears it
    assert known.report(0.0) == {"local_list": {"version": 2, "entries": 0}}


@all_versions
@pytest.mark.parametrize(
    ("number", "entries"),
    [(0, [("a", "Accepted")]), (-3, []), (1, [("a", None)]), (1, [("a", "Accepted"), ("A", "Blocked")]),
     (1, [(f"t{n}", "Accepted") for n in range(101)])],
)  # fmt: skip
def test_a_list_that_cannot_be_taken_changes_nothing(dialect: Dialect, number: int, entries: Any) -> None:
    made = Desk(dialect)
    send(made, 4, [("x", "Accepted")])
    assert send(made, number, entries) == "Failed"
    assert version(made) == 4


@all_versions
def test_a_list_that_is_switched_off_is_not_there(dialect: Dialect) -> None:
    made = Desk(dialect, tune=Tunables(local_list=False))
    assert send(made, 1, [("a", "Accepted")]) == ("Failed" if dialect.two else "NotSupported")
    assert version(made) == (0 if dialect.two else -1)


def test_no_token_is_in_the_file_that_the_list_and_the_cache_are_in(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q.sqlite")
    made = Desk(V21, outbox=box, tune=Tunables(authorize=True, authorize_remote=True))
    made.peer.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}}
    send(made, 1, [("Secret-In-List", "Accepted")])
    made.start()
    made.see(Phase.PLUGGED)
    made.see(Phase.PLUGGED)
    made.see(Phase.FREE)
    assert len(box) == 0  # what had to be told in the clear was told, and is gone
    state = "".join(str(box.state(name)) for name in ("local list", "token cache", "transaction", "variables"))
    for secret in ("secret-in-list", "alice-1"):
        assert secret not in state.lower()
    assert len(box.state("token cache")) == 1
    box.close()


def test_two_chargers_have_different_digests_of_one_token() -> None:
    assert Known("00" * 32).digest(TOKEN) != Known("11" * 32).digest(TOKEN)


def test_a_token_of_1_6_can_be_told_in_2_0_1_and_a_long_one_of_2_1_in_1_6() -> None:
    long = {"idToken": "x" * 200, "type": "DirectPayment", "additionalInfo": [{"additionalIdToken": "a", "type": "b"}]}
    for told, length in ((V201, 36), (V16, 20)):
        made = Desk(V21)
        assert made.ask("RequestStartTransaction", {"idToken": long, "remoteStartId": 1})["status"] == "Accepted"
        made.charger.disconnected(made.now)
        made.see(Phase.PLUGGED)
        other = Desk(told, outbox=made.box)  # every message is held against its schema
        first = other.peer.told("TransactionEvent" if told.two else "StartTransaction")[0]
        assert first["idToken" if told.two else "idTag"] == (
            {"idToken": "x" * length, "type": "Central"} if told.two else "x" * length
        )


# ---------------------------------------------------------------------------------------------------------- properties
STATUS = st.sampled_from(["Accepted", "Blocked", None])


@given(st.lists(st.tuples(st.booleans(), st.integers(-1, 9), st.lists(st.tuples(st.sampled_from("abc"), STATUS)))))
def test_whatever_lists_come_it_is_as_a_simple_list_would_be(updates: list[Any]) -> None:
    known, plain, at = Known("00" * 32), dict[str, str](), 0
    for full, number, entries in updates:
        names = [name for name, _ in entries]
        try:
            known = known.take_list(
                number, full, [(token_16(n), None if s is None else {"status": s}) for n, s in entries]
            )
        except ListRefused:
            good = number > 0 and (full or number > at) and len(set(names)) == len(names)
            assert not good or (full and any(s is None for _, s in entries))
            continue
        at, plain = number, {} if full else plain
        for name, status in entries:
            if status is None:
                plain.pop(name, None)
            else:
                plain[name] = status
        for name in "abc":
            found = known.verdict(token_16(name), 0.0, use_list=True, use_cache=True, cache_s=1.0)
            assert found == (plain[name] == "Accepted" if name in plain else None)


def test_bounds_and_ends() -> None:
    known = Known("00" * 32)
    full = [(token_16(str(n)), {"status": "Accepted"}) for n in range(MAX_ENTRIES)]
    known = known.take_list(1, True, full)
    with pytest.raises(ListRefused, match="there is room for"):
        known.take_list(2, False, [(token_16("one more"), {"status": "Accepted"})])
    ending = {"status": "Accepted", "expiryDate": times.show(WALL_S)}
    known = known.take_list(2, True, [(token_16("e"), ending)])

    def verdict(wall_s: float) -> bool | None:
        return known.verdict(token_16("e"), wall_s, use_list=True, use_cache=True, cache_s=60.0)

    assert (verdict(WALL_S - 0.1), verdict(WALL_S)) == (True, False)
    for n in range(CACHE_MAX + 5):
        known.remember(token_16(f"c{n}"), {"status": "Accepted"}, WALL_S)
    assert len(known.cache) == CACHE_MAX
    assert known.verdict(token_16("c4"), WALL_S, use_list=False, use_cache=True, cache_s=60.0) is None
    assert known.verdict(token_16("c5"), WALL_S, use_list=False, use_cache=True, cache_s=60.0) is True
    assert known.verdict(token_16("c5"), WALL_S - 1.0, use_list=False, use_cache=True, cache_s=60.0) is None  # clock
