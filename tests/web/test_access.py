"""Passwords, sessions and patience: pure, with the time given."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.web import access, command
from firmware.web.access import Hash, PasswordError, Patience, Role, Sessions, load_passwords, save_password
from firmware.web.server import address_of


def test_a_password_fits_itself_only_and_is_nowhere_in_the_file(tmp_path: Path) -> None:
    save_password(tmp_path, Role.OPERATOR, "correct horse")
    text = (tmp_path / access.FILE).read_text()
    assert "correct" not in text
    assert stat.S_IMODE((tmp_path / access.FILE).stat().st_mode) == 0o600
    (kept,) = load_passwords(tmp_path).values()
    assert kept.fits("correct horse")
    assert not kept.fits("correct horse ")
    assert Hash.of("correct horse") != Hash.of("correct horse")  # each with its own salt


def test_scrypt_costs_what_it_is_meant_to_cost() -> None:
    assert (access.SCRYPT_N, access.SCRYPT_R, access.SCRYPT_P) == (2**14, 8, 1)
    fixed = Hash.of("quadrant", bytes(16))
    assert Hash(bytes(16), fixed.digest).fits("quadrant")


@pytest.mark.parametrize("bad", ["", "seven77", "x" * 201, "line\nbreak here", "\x00" * 9])
def test_a_bad_password_is_refused_and_changes_nothing(tmp_path: Path, bad: str) -> None:
    save_password(tmp_path, Role.VIEWER, "good enough")
    before = (tmp_path / access.FILE).read_bytes()
    with pytest.raises(PasswordError, match="8 to 200 printable"):
        save_password(tmp_path, Role.VIEWER, bad)
    assert (tmp_path / access.FILE).read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"admin": {}}', '{"viewer": {"salt": "zz", "scrypt": ""}}', '{"viewer": 1}']
)
def test_a_damaged_file_is_told_and_setting_a_password_is_the_way_back(tmp_path: Path, text: str) -> None:
    (tmp_path / access.FILE).write_text(text)
    with pytest.raises(PasswordError, match="damaged"):
        load_passwords(tmp_path)
    with pytest.raises(PasswordError, match="damaged"):
        save_password(tmp_path, Role.VIEWER, None)
    save_password(tmp_path, Role.SERVICE, "a new beginning")
    assert list(load_passwords(tmp_path)) == [Role.SERVICE]


def test_a_session_ends_when_idle_when_long_and_when_told() -> None:
    sessions = Sessions()
    secret = sessions.begin(Role.OPERATOR, 0.0)
    assert sessions.find(secret, access.IDLE_S) is not None
    assert sessions.find(secret, 2.1 * access.IDLE_S) is None
    long = sessions.begin(Role.OPERATOR, 0.0)
    for t in range(0, int(access.LONGEST_S) + 1, 1800):
        assert sessions.find(long, float(t)) is not None
    assert sessions.find(long, access.LONGEST_S + 1.0) is None
    told = sessions.begin(Role.VIEWER, 0.0)
    sessions.end(told)
    assert sessions.find(told, 0.0) is None
    assert sessions.find(None, 0.0) is sessions.find("guess", 0.0) is None


def test_a_stream_that_runs_by_itself_does_not_keep_a_session_alive() -> None:
    sessions = Sessions()
    secret = sessions.begin(Role.VIEWER, 0.0)
    for t in range(0, int(access.IDLE_S) + 1, 600):
        assert sessions.find(secret, float(t), use=False) is not None
    assert sessions.find(secret, access.IDLE_S + 1.0, use=False) is None


def test_sessions_are_bounded_and_the_one_unused_for_longest_goes() -> None:
    sessions = Sessions()
    secrets = [sessions.begin(Role.VIEWER, float(i)) for i in range(access.MAX_SESSIONS + 1)]
    assert sessions.find(secrets[0], 60.0) is None
    assert all(sessions.find(s, 60.0) for s in secrets[1:])


@given(st.lists(st.floats(0.0, 200.0), min_size=1, max_size=60))
def test_nobody_waits_longer_than_a_minute_and_the_right_password_ends_it(pauses: list[float]) -> None:
    patience, now = Patience(), 0.0
    for pause in pauses:
        now += pause
        if patience.wait_s(now) == 0.0:
            patience.wrong(now)
        assert patience.wait_s(now) <= access.MAX_WAIT_S + 1e-6
    later = now + access.MAX_WAIT_S + 1.0
    patience.right()
    patience.wrong(later)
    assert patience.wait_s(later) == 0.0


def test_the_sixth_wrong_password_waits() -> None:
    patience = Patience()
    waits = []
    for _ in range(8):
        patience.wrong(0.0)
        waits.append(patience.wait_s(0.0))
    assert waits == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("listen", "has_password", "address"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("192.168.1.4", False, "127.0.0.1"),
        ("::", False, "::1"),
        ("0.0.0.0", True, "0.0.0.0"),
        ("::1", False, "::1"),
    ],
)
def test_nothing_but_the_loopback_is_served_until_there_is_a_password(
    listen: str, has_password: bool, address: str
) -> None:
    assert address_of(listen, has_password) == address


def test_the_command_reads_a_line_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse
    import io

    def run(text: str, *, remove: bool = False) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return command.password(argparse.Namespace(role="operator", remove=remove, dir=tmp_path))

    assert run("well, a password\n") == 0
    assert load_passwords(tmp_path)[Role.OPERATOR].fits("well, a password")
    assert run("short\n") == 1
    assert "8 to 200" in capsys.readouterr().err
    assert run("", remove=True) == 0
    assert json.loads((tmp_path / access.FILE).read_text()) == {}
