"""A process that writes records until it is killed, for tests/test_recorder_kill.py.

`python -m tests.recorder_writer` is a server that imports once and forks: each line on standard input,
`{"path", "boot", "charged_wh", "mode"}`, makes a child that plays guard and services on that records file and is to be
killed at a random instant. The child's process id and its own log of what it did come back on standard output, one
JSON list a line: ["pid", n], ["try", event, charged_wh], ["done", event, charged_wh]. "try" is said before a commit
that holds everything up to that event, "done" after it. A pipe keeps what a killed process had written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from firmware.energy.ledger import Ledger
from firmware.recorder.store import TRIP, Store

MAX_POWER_W = 22_000.0
STEP_WH = 0.061  # 22 kW for 10 ms
T0 = 1_800_000_000.0


def say(*words: object) -> None:
    os.write(1, (json.dumps(words) + "\n").encode())


def wall_of(charged_wh: float) -> float:
    """Simulated wall time: guard charges at full power all the time."""
    return T0 + charged_wh / MAX_POWER_W * 3600.0


def write_until_killed(path: str, boot: str, counter_wh: float, total_wh: float, mode: str) -> None:
    """counter_wh: guard's counter in this boot of it; total_wh: over all boots, the simulated clock."""
    background = mode == "thread"
    store = Store.open(path, background=background, interval_s=0.001)
    ledger = Ledger(MAX_POWER_W, store.ledger_state(), store.open_session())
    newest = store.events(limit=1)
    number = int(newest[0].detail) if newest else 0
    refused = ledger.apply(boot, counter_wh, counter_wh / 2, wall_of(total_wh)).refused
    assert not refused, refused
    handed_over: dict[int, tuple[int, float]] = {}
    told = 0
    while True:
        counter_wh += STEP_WH
        total_wh += STEP_WH
        refused = ledger.apply(boot, counter_wh, counter_wh / 2, wall_of(total_wh)).refused
        assert not refused, refused
        now = wall_of(total_wh)
        number += 1
        say("try", number, counter_wh)
        if number % 40 == 0 and ledger.session is not None:
            store.session_end(ledger.end_session(now, "test"), ledger.state)
        elif number % 40 == 20 and ledger.session is None:
            store.session_start(ledger.start_session(now), ledger.state)
        else:
            store.registers(ledger.state)
        severity = TRIP if number % 7 == 0 else 0
        item = store.event(now, now - T0, boot, "state", severity, str(number))
        if background:
            handed_over[item] = (number, counter_wh)
            time.sleep(0.0002)
            done = store.committed
            for key in [key for key in handed_over if key <= done]:
                last = handed_over.pop(key)
                told = max(told, key)
            if done and told == done:
                # Registers are handed over before their event, so what holds the event holds at least them.
                say("done", *last)
        else:
            store.flush(now, force=True)
            say("done", number, counter_wh)


def main() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are killed, nobody asks how they ended
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                write_until_killed(**job)
            except BaseException as error:
                say("failed", repr(error))
            os._exit(1)
        say("pid", pid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
