"""Kill -9 at random instants of transactions with the link flapping: the back end learns all of it, once, in order.

Once means: after what the specification gives it to know a repetition by, transactionId and seqNo. A message that was
taken, and whose taking was not yet written down, is sent again; more than that is a fault. OCPP 1.6 has no seqNo: the
same words, one after the other, are a repetition there, and of a StartTransaction that came twice the last number
counts.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp import times
from tests.ocpp.back_end import WALL_S

REPO = Path(__file__).parent.parent.parent
RECORDS_16 = ("StartTransaction", "MeterValues", "StopTransaction")


class Writers:
    """The server of tests/ocpp/writer.py."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.ocpp.writer"], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._server.stdout is not None
        self._fd = self._server.stdout.fileno()
        # A writer is never further ahead than this holds: on a busy machine too it is killed before its end.
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 8192)
        self._pending = b""

    def run(self, kill_after: int | None, rng: random.Random, **job: object) -> list[list[Any]]:
        """Let a writer run, to its end or until so many words and a random part of what comes then."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        self._server.stdin.flush()
        said: list[list[Any]] = []
        deadline, pid = time.monotonic() + 60.0, 0
        while True:
            assert time.monotonic() < deadline, said[-3:]
            said += self._read(0.01)
            pid = pid or next((word[1] for word in said if word[0] == "pid"), 0)
            assert not [word for word in said if word[0] == "failed"], said[-1]
            if said and any(word[0] == "end" for word in said[-2:]):
                return said
            if kill_after is not None and pid and len(said) >= kill_after:
                time.sleep(rng.uniform(0.0, 0.002))
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    return said + self._read(0.05)
                while _alive(pid):
                    said += self._read(0.001)
                return said + self._read(0.0)

    def _read(self, timeout_s: float) -> list[list[Any]]:
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


def kill_many(path: Path, kills: int, seed: int, version: str) -> list[list[Any]]:
    """All that the writers said over so many kills, and of one more that ran to its end."""
    rng = random.Random(seed)
    writers = Writers()
    said: list[list[Any]] = []
    killed, start = 0, 0.0
    try:
        while killed < kills:
            words = writers.run(
                rng.randrange(1, 40), rng, path=str(path), seed=rng.randrange(2**32), start=start, version=version,
                steps=200,
            )  # fmt: skip
            killed += not any(word[0] == "end" for word in words)
            said += words
            start += 40.0 * 250  # later than any step of the one before
        said += writers.run(None, rng, path=str(path), seed=1, start=start, version=version, steps=5)
    finally:
        writers.close()
    return said


def judge(said: list[list[Any]]) -> tuple[int, int, int]:
    """Transactions, records and repetitions; raises AssertionError where one is lost, changed or out of order."""
    made = [round(word[1], 3) for word in said if word[0] == "made"]
    told = [word[2] for word in said if word[0] == "told" and word[1] == "TransactionEvent"]
    first: dict[tuple[str, int], Any] = {}
    order: list[tuple[str, int]] = []
    repeated = 0
    for payload in told:
        key = (payload["transactionInfo"]["transactionId"], payload["seqNo"])
        if key in first:
            repeated += 1
            assert first[key] == payload, "a repetition says something else"
            assert key == order[-1], "a repetition is out of order"
        else:
            first[key] = payload
            order.append(key)
    stamps = [times.parse(first[key]["timestamp"]) for key in order]
    assert stamps == sorted(stamps)
    # What was written down was told: each reading, and with its own registers.
    known = {round(stamp - WALL_S, 3) for stamp in stamps}
    assert not [reading for reading in made if reading not in known], "a reading is lost"
    transactions: dict[str, list[Any]] = {}
    for key in order:
        transactions.setdefault(key[0], []).append(first[key])
    for events in transactions.values():
        assert [event["seqNo"] for event in events] == list(range(len(events)))
        kinds = [event["eventType"] for event in events]
        assert kinds == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
        for event in events:
            values = {v["measurand"]: v["value"] for v in event["meterValue"][0]["sampledValue"]}
            reading = times.parse(event["timestamp"]) - WALL_S
            assert values["Energy.Active.Import.Register"] == pytest.approx(reading)
            assert values["Energy.Active.Export.Register"] == pytest.approx(reading / 2)
    return len(transactions), len(order), repeated


def judge_16(said: list[list[Any]]) -> tuple[int, int, int]:
    """As `judge`, of 1.6: in their order a StartTransaction, MeterValues under the number that it was given, and one
    StopTransaction under the same."""
    made = [round(word[1], 3) for word in said if word[0] == "made" and word[2] != "Other"]  # 1.6 has no word for those
    told = [word[1:] for word in said if word[0] == "told" and word[1] in RECORDS_16]
    known: set[float] = set()
    last: list[Any] = []
    open_number: int | None = None
    started = records = repeated = 0
    latest = 0.0
    for action, payload, number in told:
        if last == [action, payload]:
            repeated += 1
            open_number = number if action == "StartTransaction" else open_number
            continue
        last = [action, payload]
        records += 1
        if action == "StartTransaction":
            assert open_number is None, "a start within a transaction"
            open_number, started = number, started + 1
        else:
            assert payload["transactionId"] == open_number, "under another number, or after the end"
            open_number = None if action == "StopTransaction" else open_number
        value = next(iter(payload.get("meterValue", payload.get("transactionData", []))), None)
        reading = times.parse(payload.get("timestamp") or value["timestamp"]) - WALL_S
        assert reading >= latest, "out of order"
        latest = reading
        known.add(round(reading, 3))
        if value is not None:
            values = {v["measurand"]: float(v["value"]) for v in value["sampledValue"]}
            assert values["Energy.Active.Import.Register"] == pytest.approx(reading)
            assert values["Energy.Active.Export.Register"] == pytest.approx(reading / 2)
        if action != "MeterValues":
            assert payload["meterStart" if action == "StartTransaction" else "meterStop"] == round(reading)
    assert open_number is None, "a transaction has no end"
    assert not [reading for reading in made if reading not in known], "a reading is lost"
    return started, records, repeated


def test_a_few_kills_and_nothing_is_lost_or_told_in_another_order(tmp_path: Path) -> None:
    transactions, records, _ = judge(kill_many(tmp_path / "q", 6, 1, "2.1"))
    assert transactions > 1
    assert records > 10


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
def test_200_kills_and_nothing_is_lost_or_told_in_another_order(tmp_path: Path, version: str) -> None:
    said = kill_many(tmp_path / "q", 200, 7, version)
    transactions, records, repeated = judge_16(said) if version == "1.6" else judge(said)
    assert transactions > 50
    assert records > 500
    assert repeated <= 200  # at most one a kill


def test_the_judge_sees_a_loss_a_change_and_a_swap(tmp_path: Path) -> None:
    said = kill_many(tmp_path / "q", 0, 3, "2.1")
    said += kill_many(tmp_path / "q2", 2, 4, "2.1")
    told = [n for n, word in enumerate(said) if word[0] == "told" and word[1] == "TransactionEvent"]
    judge(said)
    lost = [word for n, word in enumerate(said) if n != told[1]]
    swapped = list(said)
    swapped[told[1]], swapped[told[2]] = said[told[2]], said[told[1]]
    for wrong in (lost, swapped):
        with pytest.raises(AssertionError):
            judge(wrong)


def test_the_judge_of_1_6_sees_a_loss_a_swap_a_second_end_and_a_wrong_number(tmp_path: Path) -> None:
    said = kill_many(tmp_path / "q", 3, 4, "1.6")
    transactions, records, _ = judge_16(said)
    assert transactions > 1
    assert records > 10
    told = [n for n, word in enumerate(said) if word[0] == "told" and word[1] in RECORDS_16]
    of = {action: [n for n in told if said[n][1] == action] for action in RECORDS_16}
    swapped = list(said)
    a, b = of["MeterValues"][1:3]
    swapped[a], swapped[b] = said[b], said[a]
    stop = said[of["StopTransaction"][0]]
    again = [*said[: told[-1] + 1], stop, *said[told[-1] + 1 :]]
    other = list(said)
    other[of["StopTransaction"][0]] = [*stop[:2], {**stop[2], "transactionId": 999_999}, *stop[3:]]
    wrongs = [swapped, again, other]
    wrongs += [[word for n, word in enumerate(said) if n != of[action][0]] for action in RECORDS_16]
    for wrong in wrongs:
        with pytest.raises(AssertionError):
            judge_16(wrong)
