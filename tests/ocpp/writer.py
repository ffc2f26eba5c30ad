"""A process that plays a charger and its back end until it is killed, for tests/ocpp/test_kill.py.

`python -m tests.ocpp.writer` is a server that imports once and forks: each line on standard input,
`{"path", "seed", "start", "version", "steps"}`, makes a child that goes on with the queue in `path`. The child's own
log comes back on standard output, one JSON list a line: ["pid", n]; ["made", wh, context] after a look at the charger
was written down; ["told", action, payload, number] when the back end was told, before it answers (number: the
transactionId that it is about to give, 1.6); ["end"] when all steps were taken and the queue is empty. A pipe keeps
what a killed process had written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from firmware.bridges.ocpp.dialect import BY_NAME
from firmware.bridges.ocpp.outbox import New, Outbox
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.transaction import Transactions
from firmware.bridges.ocpp.view import Phase
from tests.ocpp.back_end import WALL_S, WHO, BackEnd, view

PHASES = (Phase.FREE, Phase.PLUGGED, Phase.CHARGING, Phase.HOLDING, Phase.DISCHARGING, Phase.ENDED)


def say(*words: object) -> None:
    os.write(1, (json.dumps(words) + "\n").encode())


class TellingBackEnd(BackEnd):
    """Says what it was told before it answers. number: the transactionId of 1.6 that it gave last."""

    number = 0

    def hear(self, charger: Station, now: float, text: str) -> None:
        kind, _, *rest = json.loads(text)
        if kind == 2:
            self.number += 1
            self.answers["StartTransaction"]["transactionId"] = self.number
            say("told", *rest, self.number)
        super().hear(charger, now, text)


class TellingOutbox(Outbox):
    """Says what is on the disk."""

    def put(self, messages: Sequence[New], name: str = "", state: object = None) -> None:
        super().put(messages, name, state)
        for message in messages:
            say("made", message.payload["wall_s"] - WALL_S, message.payload["context"])


def play(job: dict[str, Any]) -> None:
    rng = random.Random(job["seed"])
    dialect = BY_NAME[job["version"]]
    box = TellingOutbox(job["path"])
    transactions = Transactions(box, 1.0, lambda: str(uuid.uuid4()))
    charger = Station(
        WHO, box, transactions, message_timeout_s=30.0, new_id=lambda: str(uuid.uuid4()), say=lambda sentence: None
    )
    peer = TellingBackEnd(dialect)
    peer.number = int(job["start"])  # none twice over all lives
    now, phase = float(job["start"]), Phase.FREE
    for _ in range(job["steps"]):
        now += 40.0
        if rng.random() < 0.3:
            phase = rng.choice(PHASES)
        charger.observe(view(now, phase, wh=(now, now / 2)))
        if charger.dialect is None:
            if rng.random() < 0.3:
                charger.connected(now, dialect)
        elif rng.random() < 0.2:
            charger.disconnected(now)
        peer.settle(charger, now)
    now += 40.0
    charger.observe(view(now, Phase.FREE, wh=(now, now / 2)))
    if charger.dialect is None:
        charger.connected(now, dialect)
    for step in range(4):
        peer.settle(charger, now + 40.0 * step)
    assert len(box) == 0
    say("end")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                play(json.loads(line))
            except BaseException as error:
                say("failed", repr(error))
            os._exit(0)
        say("pid", pid)


if __name__ == "__main__":
    main()
