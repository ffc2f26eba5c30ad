"""The command line against the real control socket, and what it says about a user's mistakes."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware import arguments, cli
from firmware.arguments import guard_negative_values
from firmware.control_client import SOCKET_NAME, ControlClient, ControlError, default_run_dir
from firmware.runner import Feed
from firmware.services import control
from tests.fake_charger import FakeCharger, served
from tests.view_snapshot import TRIP, snapshot
from tests.waiting import wait

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def quadrant(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line; returns exit code, standard output, standard error."""
    monkeypatch.setenv("QUADRANT_DIR", str(tmp_path))

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(words)
        except SystemExit as stop:  # argparse leaves this way
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[FakeCharger]:
    with served(tmp_path, snapshot()) as running:
        yield running.charger


def every_command(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from every_command(sub, (*path, name))


COMMANDS = list(every_command(cli.built_in()[0]))


def installed_plugins() -> list[str]:
    return [plugin.name for plugin in cli.find_plugins()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c) or "quadrant")
def test_the_help_of_every_command_has_an_example_that_parses(quadrant: Run, command: tuple[str, ...]) -> None:
    code, out, _ = quadrant(*command, "--help")
    assert code == 0
    example = out.split("example:\n")[1].strip()
    assert example.startswith(" ".join(("quadrant", *command)))
    cli.built_in()[0].parse_args(guard_negative_values(shlex.split(example)[1:]))


@pytest.mark.parametrize("name", installed_plugins())
def test_the_help_of_a_plugin_has_an_example(quadrant: Run, name: str) -> None:
    code, out, _ = quadrant(name, "--help")
    assert code == 0
    assert f"quadrant {name}" in out.split("example")[1]


# ------------------------------------------------------------------------------------------------------------ requests
def test_a_negative_power_is_a_value_and_discharges(quadrant: Run, charger: FakeCharger) -> None:
    code, out, _ = quadrant("power", "-7kW", "--for", "30m", "--reason", "peak")
    assert code == 0
    assert charger.calls == [("power", -7_000.0, 1_800.0, "peak")]
    assert out == "Asked to discharge at -7.0 kW for 30 min.\n"


def test_the_charger_s_refusal_is_told_with_its_reason_and_code_1(quadrant: Run, charger: FakeCharger) -> None:
    code, out, err = quadrant("power", "70kW", "--for", "30m")
    assert code == 1
    assert out == ""
    assert err == "Refused: power_w = 70000 is outside this charger's ratings: -22000 W to 22000 W.\n"
    assert charger.calls == []


def test_stop_with_clear_stops_first_and_start_allows_again(quadrant: Run, charger: FakeCharger) -> None:
    assert quadrant("stop", "--clear")[0] == 0
    assert quadrant("start")[0] == 0
    assert charger.calls == [("stop",), ("clear",), ("start",)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("power", "-7", "--for", "1m"), "has no unit"),
        (("power", "-7kW", "--for", "30"), "'30' is not understood"),
        (("power", "-7kW"), "required: --for"),
        (("power", "7kW", "--for", "-3m"), "'-3m' is not understood"),
        (("events", "--limit", "0"), "from 1 to 10000"),
        (("events", "--limit", "-5"), "'-5' is not a number of events"),
        (("events", "--since", "yesterday"), "neither an age"),
        (("run", "--for", "soon"), "'soon' is not understood"),
        (("status", "--wat"), "unrecognized arguments: --wat"),
        (("fly",), "There is no command 'fly'"),
        ((), "required: COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_code_2(quadrant: Run, words: tuple[str, ...], says: str) -> None:
    code, out, err = quadrant(*words)
    assert code == 2
    assert out == ""
    assert says in err


# ------------------------------------------------------------------------------------------------------------- reports
def test_without_a_charger_every_request_says_so_with_code_3(quadrant: Run, tmp_path: Path) -> None:
    for words in (("status",), ("stop",), ("start",), ("events",), ("power", "1kW", "--for", "1m")):
        code, _, err = quadrant(*words)
        assert code == 3
        assert err.startswith(f"No charger runs in {tmp_path}.")


def test_status_says_why_first(quadrant: Run, charger: FakeCharger) -> None:
    code, out, _ = quadrant("status")
    assert code == 0
    assert out.splitlines()[0] == "Charges with 7.4 kW: the car permits no more."
    assert "limited by car" in out


def test_status_as_json_is_the_socket_s_answer(quadrant: Run, charger: FakeCharger) -> None:
    code, out, _ = quadrant("status", "--json")
    assert code == 0
    assert json.loads(out)["snapshot"] == snapshot()


def test_a_faulted_charger_is_code_4_with_its_faults_and_trip(quadrant: Run, tmp_path: Path) -> None:
    with served(tmp_path, snapshot(state="fault", faults=["pilot_estop"], trip=TRIP)):
        code, out, _ = quadrant("status")
    assert code == 4
    assert "pilot_estop" in out
    assert "47.42 Hz was below" in out


def test_a_charger_that_only_starts_is_no_fault(quadrant: Run, tmp_path: Path) -> None:
    with served(tmp_path, None):
        assert quadrant("status") == (0, "The charger starts; guard has not reported yet.\n", "")


def test_status_watch_prints_changes_until_the_charger_ends(quadrant: Run, tmp_path: Path) -> None:
    with served(tmp_path, snapshot()) as running:

        def story() -> None:
            wait(lambda: running.watchers, "the watcher")
            running.event({"code": "grid_trip", "detail": "UF1", "wall_s": None})
            running.publish({"snapshot": snapshot(grid_state="tripped", trip=TRIP)})
            running.sent()
            running.close()

        teller = threading.Thread(target=story)
        teller.start()
        code, out, _ = quadrant("status", "--watch", "--json")
        teller.join()
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [o["type"] for o in objects] == ["change", "event", "change"]
    assert objects[2]["trip"]["element"] == "UF1"


def test_events_are_asked_for_with_limit_and_age(quadrant: Run, charger: FakeCharger) -> None:
    code, out, _ = quadrant("events", "--limit", "5", "--since", "2h")
    assert code == 0
    assert "grid_trip: Grid protection tripped. UF1" in out
    [(_, since, limit)] = charger.calls
    assert limit == 5
    assert since == pytest.approx(time.time() - 7_200.0, abs=60.0)


def test_the_command_line_and_the_socket_agree_on_how_many_events_there_may_be() -> None:
    assert arguments.MAX_EVENTS == control.MAX_EVENTS


def test_boards_are_listed_shown_and_checked(quadrant: Run, tmp_path: Path) -> None:
    code, out, _ = quadrant("board", "list", "--json")
    assert code == 0
    assert {"desk", "beg22"} <= {board["name"] for board in json.loads(out)}
    shown = quadrant("board", "show", "beg22")[1]
    mine = tmp_path / "beg22.toml"
    mine.write_text(shown)
    assert quadrant("board", "check", str(mine))[0] == 0
    mine.write_text(shown.replace("charge_w = 22000.0", "charge_w = -1.0", 1))
    code, out, err = quadrant("board", "check", str(mine))
    assert code == 1
    assert "charge_w" in err
    assert out == ""


# ------------------------------------------------------------------------------------------------------------- plugins
class Plugin(importlib.metadata.EntryPoint):
    """An entry point as packages declare them."""


def plugin(value: str) -> Plugin:
    return Plugin(name="show", value=value, group=cli.PLUGIN_GROUP)


def register_show(commands: Any) -> None:
    show = commands.add_parser("show")
    show.add_argument("--loud", action="store_true")
    show.set_defaults(run=lambda args: 7 if args.loud else 0)


def test_a_plugin_s_command_runs_and_its_exit_code_is_ours() -> None:
    assert cli.main(["show", "--loud"], [plugin("tests.test_cli:register_show")]) == 7


@pytest.mark.parametrize("value", ["no_such_package.here:register", "tests.test_cli:no_such_function"])
def test_a_plugin_that_cannot_be_loaded_says_why_and_leaves_the_others_alone(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["show", "anything", "--at-all"], [plugin(value)]) == 1
    err = capsys.readouterr().err
    assert "`quadrant show` cannot be loaded" in err
    assert "no_such" in err
    assert cli.main(["board", "list"], [plugin(value)]) == 0


# -------------------------------------------------------------------------------------------------------------- client
def raw_server(run_dir: Path, answer: bytes) -> threading.Thread:
    """Answers the first line of one client with `answer` and closes."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(run_dir / SOCKET_NAME))
    server.listen(1)

    def serve() -> None:
        with server, server.accept()[0] as client:
            client.recv(4096)
            client.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed the connection"),
        (b"hello\n", "is not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"ok": true', "closed the connection"),
        (b'{"ok": false}\n', "without a reason"),
    ],
)
def test_nonsense_from_the_socket_is_a_sentence(tmp_path: Path, answer: bytes, says: str) -> None:
    thread = raw_server(tmp_path, answer)
    with ControlClient(tmp_path) as client, pytest.raises(ControlError, match=says):
        client.call("status")
    thread.join(5.0)


def test_a_silent_charger_is_told_after_the_time_out(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(tmp_path / SOCKET_NAME))
    server.listen(1)
    with (
        server,
        ControlClient(tmp_path, timeout_s=0.05) as client,
        pytest.raises(ControlError, match=r"within 0\.05 s"),
    ):
        client.call("status")


def test_a_directory_that_is_too_long_for_a_unix_socket_is_refused_with_a_sentence(quadrant: Run) -> None:
    code, _, err = quadrant("status", "--dir", "/tmp/" + "x" * 120)
    assert code == 1
    assert "too long for a Unix socket" in err


def test_the_run_directory_is_chosen_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUADRANT_DIR", "/srv/charger")
    assert default_run_dir() == Path("/srv/charger")
    monkeypatch.delenv("QUADRANT_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_run_dir() == Path("/state/quadrant")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_run_dir() == Path("/home/me/.local/state/quadrant")


# ---------------------------------------------------------------------------------------------------------------- feed
def test_the_view_s_feed_connects_again_after_services_were_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    started = time.time()
    feed = Feed(tmp_path, tmp_path / "can.log", said.append)
    messages = feed.messages()
    assert next(messages) == {}  # nobody there yet
    for name in ("can.log", "can-2.log"):  # the first file is never overwritten
        with served(tmp_path, snapshot()) as running:
            found = next(message for message in messages if "snapshot" in message)
            assert found["board"] == "desk"
            assert running.charger.calls[0] == ("can_log", str(tmp_path / name))
            (name_of_second, since, _) = running.charger.calls[1]
            assert name_of_second == "events"  # what happened while there was no connection
            assert started - 1.0 < since <= time.time()
    assert next(messages) == {}
    feed.end()
    assert list(messages) == []
    assert said == []


def test_a_refused_can_log_is_told_once_and_the_view_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    feed = Feed(tmp_path, tmp_path / "can.txt", said.append)
    for _ in range(2):
        with served(tmp_path, snapshot()):
            assert any("snapshot" in message for message in feed.messages())
    assert said == ["No CAN log: path must end with .log or .blf."]


# ----------------------------------------------------------------------------------------------------------- controls
def test_controls_are_listed_with_who_set_what_is_in_force(quadrant: Run, charger: FakeCharger) -> None:
    code, out, _ = quadrant("controls", "list")
    assert code == 0
    assert "q " in out
    assert "until cleared" in out
    assert "UF1        threshold 47.5 Hz [tight], time_s 0.1 s" in out
    assert json.loads(quadrant("controls", "list", "--json")[1])["sources"]["reactive"] == "q"


def test_a_file_of_controls_is_sent_whole_with_its_start_as_seconds(
    quadrant: Run, charger: FakeCharger, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[[control]]\nid = "a"\nkind = "fixed_var"\nstart = 2027-01-15T08:00:00Z\nq_pu = 0.1\n'
                    '[[control]]\nid = "b"\nkind = "ramps"\n')  # fmt: skip
    code, out, _ = quadrant("controls", "set", str(file))
    assert (code, out) == (0, "set a\nset b\n")
    ((_, sent),) = charger.calls
    assert sent[0] == {"id": "a", "kind": "fixed_var", "start_s": 1_800_000_000.0, "q_pu": 0.1}
    assert quadrant("controls", "clear", "q")[1] == "cleared q\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file"),
        ("= 1", "not valid TOML"),
        ("a = 1", "holds tables [[control]] and nothing else"),
        ("[control]\nid = 'a'", "holds tables [[control]]"),
        ("[[control]]\nstart = 18:00:00", "start must be a date and time"),
        ("[[control]]\nstart = 2027-01-15T08:00:00Z\nstart_s = 1", "without start_s beside it"),
    ],
)
def test_a_file_of_controls_that_is_wrong_is_one_sentence(
    quadrant: Run, charger: FakeCharger, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "c.toml"
    if text is not None:
        file.write_text(text)
    code, _, error = quadrant("controls", "set", str(file))
    assert code == 1
    assert words in error
    assert error.count("\n") == 1
    assert charger.calls == []


def test_clearing_what_is_not_there_is_refused_with_what_is(quadrant: Run, charger: FakeCharger) -> None:
    assert quadrant("controls", "clear", "x")[::2] == (1, "Refused: there is no control 'x'; there are: q.\n")
