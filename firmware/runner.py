"""`quadrant run`: the supervisor in the foreground, and beside it the view as one more client of the control socket.

The supervisor keeps the main thread, because its children are bound to the life of the thread that starts them; the
view has a thread of its own and may die without the charger noticing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boards
from firmware.control_client import ControlClient, ControlError, Refused
from firmware.lines import follow
from firmware.supervisor import Supervisor, board_for, claim, commands_for, told
from firmware.systemd import Notifier, Priority, entry, is_journal

RETRY_S = 0.2  # services open their socket within about a second of their start
SILENCE_S = 3.0  # snapshots come ten times a second: after this long the connection is as good as gone
VIEW_END_S = 2.0


class Feed:
    """Messages of `watch` for as long as the charger runs; connects again when services were started again."""

    def __init__(self, run_dir: Path, can_log: Path | None, say: Callable[[str], None]) -> None:
        self._run_dir = run_dir
        self._can_log = can_log
        self._can_logs = 0  # files begun: services that were started again do not overwrite the first one
        self._say = say
        self._ended = threading.Event()
        self._seen_until = time.time()  # wall time (s) up to which events were shown

    def end(self) -> None:
        self._ended.set()

    def messages(self) -> Iterator[dict[str, Any]]:
        """An empty message while there is no connection, so that the view can say so."""
        while not self._ended.is_set():
            try:
                with ControlClient(self._run_dir, timeout_s=SILENCE_S) as client:
                    self._start_can_log(client)
                    # What happened before this connection. (What the records take up in these milliseconds is not
                    # shown here; `quadrant events` has it.)
                    for event in client.call("events", since=self._seen_until, limit=100)["events"]:
                        yield {"event": event}
                    for message in client.watch():
                        self._seen_until = time.time()
                        yield message
                        if self._ended.is_set():
                            return
            except ControlError:
                pass  # not there yet, or between two lives: the events tell the story
            yield {}
            self._ended.wait(RETRY_S)

    def _start_can_log(self, client: ControlClient) -> None:
        path = self._can_log
        if path is None:
            return
        if client.call("status").get("can_log") is not None:
            return  # only the view's connection was lost
        if self._can_logs:
            path = path.with_stem(f"{path.stem}-{self._can_logs + 1}")
        try:
            client.call("can_log", path=str(path))
            self._can_logs += 1
        except Refused as error:
            self._say(f"No CAN log: {error}")
            self._can_log = None


def screen_of(board: boards.Board) -> str:
    """Where a browser on this machine finds the service screen; "" = there is none."""
    return f"http://localhost:{board.web.port}" if board.web.enabled else ""


def _view(feed: Feed, board: boards.Board, live: bool, as_json: bool, say: Callable[[str], None]) -> None:
    """Whatever goes wrong with showing, the charger goes on; it is said once."""
    try:
        if live:
            from rich.console import Console

            from firmware.view import show_live

            show_live(feed.messages(), board.name, Console(), screen_of(board))
        else:
            follow(feed.messages(), sys.stdout, as_json, is_journal(sys.stdout, os.environ))
    except BrokenPipeError:
        say("Nobody reads the output any more; the charger goes on. SIGTERM stops it.")
    except Exception as error:  # a fault of the view must not look like one of the charger
        say(f"The view ended ({type(error).__name__}: {error}); the charger goes on. `quadrant status` shows it.")


def run_charger(
    board_name: str, run_dir: Path, headless: bool, for_s: float | None, as_json: bool, can_log: Path | None
) -> int:
    """Run a charger until it is stopped. Returns the supervisor's exit code; 0 = stopped with contactors open.

    Raises boards.BoardError and firmware.supervisor.SupervisorError with a sentence when it cannot be started.
    """
    run_dir = run_dir.absolute()
    board = board_for(board_name, run_dir, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    live = not headless and not as_json and sys.stdout.isatty()
    said: list[str] = []  # while the live view owns the screen, sentences wait for its end

    journal = is_journal(sys.stderr, os.environ)

    def say(sentence: str) -> None:
        if live and view.is_alive():
            said.append(sentence)
        else:
            line = entry(Priority.WARNING, sentence, process="supervisor") if journal else sentence
            print(line, file=sys.stderr, flush=True)

    feed = Feed(run_dir, can_log.absolute() if can_log else None, say)
    view = threading.Thread(target=_view, args=(feed, board, live, as_json, say), name="view", daemon=True)
    lock = claim(run_dir)  # held until this process ends; keeps a second charger out of this directory
    notifier, heard = Notifier.from_environment(os.environ), told if journal else None
    supervisor = Supervisor(commands_for(board, run_dir), run_dir, say, lock=lock, notifier=notifier, heard=heard)
    if not live and not as_json:
        print(f"Quadrant, board {board.name}, in {run_dir}. Ctrl-C stops it.", flush=True)
        if screen_of(board):
            print(f"Service screen: {screen_of(board)}", flush=True)
    view.start()
    try:
        return asyncio.run(_supervise(supervisor, for_s))
    finally:
        feed.end()
        view.join(VIEW_END_S)
        for sentence in said:
            print(sentence, file=sys.stderr)
        os.close(lock)


async def _supervise(supervisor: Supervisor, for_s: float | None) -> int:
    if for_s is not None:
        asyncio.get_running_loop().call_later(for_s, supervisor.stop)
    return await supervisor.run()
