"""Kill -9 at random instants, and a power cut at every place of the journal: nothing that was committed is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware.energy.ledger import LedgerState
from firmware.recorder.reader import Reader
from firmware.recorder.schema import RecorderError
from firmware.recorder.store import Store

REPO = Path(__file__).parent.parent
STEP_WH = 0.061


class Writers:
    """The server of tests/recorder_writer.py."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.recorder_writer"], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._server.stdout is not None
        self._fd = self._server.stdout.fileno()
        self._pending = b""

    def run_and_kill(self, rng: random.Random, **job: object) -> list[list[object]]:
        """Start a writer, kill it at a random instant, return all that it said."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        self._server.stdin.flush()
        said: list[list[object]] = []
        pid, kill_at = 0, float("inf")
        # One in five is killed while it opens and recovers the file, the others after so many commits and a random
        # part of one more: counted, not timed, so that a busy machine tests the same.
        commits = 0 if rng.random() < 0.2 else rng.randrange(1, 30)
        deadline = time.monotonic() + 60.0
        while time.monotonic() < kill_at:
            assert time.monotonic() < deadline, said
            said += self._read(max(0.0, min(0.01, kill_at - time.monotonic())))
            if any(words[0] == "failed" for words in said):
                break
            pid = pid or next((int(str(words[1])) for words in said if words[0] == "pid"), 0)
            if pid and kill_at == float("inf") and sum(words[0] == "done" for words in said) >= commits:
                kill_at = time.monotonic() + (rng.uniform(0.0, 0.001) if commits else rng.uniform(0.0, 0.01))
        assert pid, said
        with contextlib.suppress(ProcessLookupError):  # it ended by itself: what it said below tells why
            os.kill(pid, signal.SIGKILL)
        while _alive(pid):
            assert time.monotonic() < deadline
            said += self._read(0.001)
        said += self._read(0.0)
        assert not [words for words in said if words[0] == "failed"], said
        return said

    def _read(self, timeout_s: float) -> list[list[object]]:
        while select.select([self._fd], [], [], timeout_s)[0]:
            self._pending += os.read(self._fd, 65536)
            timeout_s = 0.0
        *lines, self._pending = self._pending.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_many(path: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    writers = Writers()
    boot, counter, earlier = 0, 0.0, 0.0  # guard: its process, its counter, and the energy of its processes before
    last = LedgerState()
    committed_event, committing, commits = 0, 0, 0
    try:
        for kill in range(kills):
            mode = rng.choice(["direct", "thread"])
            said = writers.run_and_kill(
                rng, path=str(path), boot=f"guard-{boot}", counter_wh=counter, total_wh=earlier + counter, mode=mode
            )
            tried = [(int(str(w[1])), float(str(w[2]))) for w in said if w[0] == "try"]
            done = [(int(str(w[1])), float(str(w[2]))) for w in said if w[0] == "done"]
            commits += len(done)
            committing += bool(tried) and (not done or tried[-1] > done[-1])

            if not path.exists():  # killed before it made the file
                continue
            try:
                reader = Reader(path)
            except RecorderError:
                # Killed before the first commit of all, which makes the tables: there is nothing yet to be kept.
                assert not committed_event, f"kill {kill}"
                assert not done, f"kill {kill}"
                continue
            db = sqlite3.connect(path)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"kill {kill}"
            numbers = [int(row[0]) for row in db.execute("SELECT detail FROM events ORDER BY id")]
            db.close()
            state = reader.ledger_state() or LedgerState()
            sessions = reader.sessions(limit=10_000)
            reader.close()

            # Events: all that were acknowledged, in order, without a gap, and none that was not tried.
            assert numbers == list(range(1, len(numbers) + 1)), f"kill {kill}"
            committed_event = max(committed_event, done[-1][0] if done else 0)
            assert len(numbers) >= committed_event, f"kill {kill}: an acknowledged event is lost"
            if tried:
                assert len(numbers) <= tried[-1][0]
            # Registers: never back; at least what was acknowledged, at most what was tried.
            assert state.charged_wh >= last.charged_wh, f"kill {kill}: the register went back"
            assert state.discharged_wh >= last.discharged_wh
            if done:
                assert state.boot == f"guard-{boot}"
                assert state.seen_charged_wh >= done[-1][1], f"kill {kill}: acknowledged energy is lost"
            if tried and state.boot == f"guard-{boot}":
                assert state.seen_charged_wh <= tried[-1][1]
            if done and mode == "direct":  # what a kill may cost is the one interval in progress
                assert tried[-1][1] - state.seen_charged_wh <= 1.01 * STEP_WH, f"kill {kill}"
            # The two registers were counted together and stay together: half-written rows do not exist.
            assert state.discharged_wh == pytest.approx(state.charged_wh / 2)
            # Sessions: numbered without a gap, never overlapping, at most the last one open.
            assert [s.number for s in sessions] == list(range(1, len(sessions) + 1))
            assert all(not s.open for s in sessions[:-1])
            for before, after in itertools.pairwise(sessions):
                assert before.end_charged_wh is not None
                assert before.end_charged_wh <= after.start_charged_wh
            last = state

            counter = tried[-1][1] if tried else counter  # guard lives on and counts while services are away
            if rng.random() < 0.2:  # or the whole machine went down: what was not committed is lost, nothing else
                boot += 1
                earlier, counter = state.charged_wh, 0.0
    finally:
        writers.close()
    print(f"{kills} kills, {commits} commits acknowledged, {committing} kills between attempt and acknowledgement")
    # The test must have hit what it is about: many commits, and many kills in the middle of one.
    assert commits > 5 * kills
    assert committing > kills / 4, f"only {committing} of {kills} kills fell into a commit"
    # Guard never died in the last stretch without being counted: services come back and have everything.
    store = Store.open(path)
    assert store.notice == ""
    store.close()


def test_twenty_kills_at_random_instants_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_many(tmp_path / "records.db", 20, seed=1)


@pytest.mark.slow  # 4 s on an idle machine, 30 s on a crowded one
def test_two_hundred_kills_at_random_instants_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    kill_many(tmp_path / "records.db", 200, seed=2)


def test_a_power_cut_at_any_place_of_the_journal_leaves_a_commit_whole_or_out(tmp_path: Path) -> None:
    """A kill leaves the kernel's memory; a power cut does not. So the journal is cut at every kind of place, with
    garbage behind the cut as half-written sectors leave it, and each such disk must open with a committed state."""
    path = tmp_path / "records.db"
    store = Store.open(path)
    states = [0.0]
    ends = []  # size of the journal's valid part after each commit
    for i in range(1, 41):
        store.event(float(i), float(i), "b", "state", 0, str(i))
        store.registers(LedgerState("b", 0.0, 0.0, float(i), i / 2, float(i)))
        store.flush(float(i), force=True)
        states.append(float(i))
        ends.append(path.with_name("records.db-wal").stat().st_size)
    main, wal = path.read_bytes(), path.with_name("records.db-wal").read_bytes()
    store.close()

    rng = random.Random(3)
    cuts = sorted({0, 1, 32, *ends, *(end - 1 for end in ends), *(rng.randrange(len(wal)) for _ in range(150))})
    previous = -1.0
    for cut in cuts:
        disk = tmp_path / f"cut-{cut}"
        disk.mkdir()
        (disk / "records.db").write_bytes(main)
        (disk / "records.db-wal").write_bytes(wal[:cut] + rng.randbytes(rng.randrange(5000)))
        again = Store.open(disk / "records.db")
        assert again.notice == "", f"cut at {cut}: {again.notice}"
        state = again.ledger_state() or LedgerState()
        assert state.charged_wh in states, f"cut at {cut}"
        assert state.discharged_wh == state.charged_wh / 2
        assert len(again.events(limit=1000)) == int(state.charged_wh), f"cut at {cut}: events and registers differ"
        # A longer journal never means an older register, and a commit that was finished before the cut is there.
        assert state.charged_wh >= previous
        assert state.charged_wh >= sum(end <= cut for end in ends)
        previous = state.charged_wh
        again.close()
        shutil.rmtree(disk)
    assert previous == 40.0
