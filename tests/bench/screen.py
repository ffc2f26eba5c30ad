"""Row: guard's lateness in a whole charger with five clients of the service screen at 10 Hz, beside none.

The two take turns in the same run, each for as long as guard's own window of lateness (10 s), so that a neighbour's
load hits both alike. What the screen's process takes of memory is measured at the end.
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench.harness import Row, quantile
from tests.system.charger import Charger
from tests.web.chromium import charger_with_screen

NAME = "guard lateness, whole charger, five clients of the screen at 10 Hz"
CLIENTS = 5
WINDOW_S = 10.5  # of firmware/guard/loop.py: 1000 ticks of 100 Hz
MOST_MB = 60.0
LEAST_HZ = 8.0  # of states that a client gets; below it the figure would be of something else


class Client:
    """A page's stream without a page: reads and counts."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        self._socket.sendall(f"GET /api/stream HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        self.states = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while chunk := self._socket.recv(65536):
                self.states += chunk.count(b"event: state")
        except OSError:
            pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(2.0)
        self._socket.close()


def lateness(charger: Charger) -> tuple[float, int]:
    """(p99 of the window in us, periods missed since the start)."""
    now: dict[str, Any] = charger.ask("status")["snapshot"]
    return float(now["late_p99_us"]), int(now["missed"])


def memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000.0
    return float("nan")


def rows(seconds: float) -> list[Row]:
    rounds = max(1, round(seconds / WINDOW_S))
    p99: dict[bool, list[float]] = {True: [], False: []}
    missed = {True: 0, False: 0}
    rates: list[float] = []
    with tempfile.TemporaryDirectory(prefix="q") as there, charger_with_screen(Path(there), plug_in=False) as found:
        charger, url = found
        port = int(url.rpartition(":")[2])
        time.sleep(WINDOW_S)  # the start is not what is measured
        for _ in range(rounds):
            for busy in (False, True):
                clients = [Client(port) for _ in range(CLIENTS)] if busy else []
                before = lateness(charger)[1]
                time.sleep(WINDOW_S)
                value, count = lateness(charger)
                p99[busy].append(value)
                missed[busy] += count - before
                rates += [client.states / WINDOW_S for client in clients]
                for client in clients:
                    client.close()
        memory = memory_mb(charger.running("firmware.web") or 0)
    notes = [
        f"{rounds} turns of {WINDOW_S:g} s each",
        f"each client got {quantile(rates, 0.5):.1f} states a second",
        f"periods missed with {missed[True]}, without {missed[False]}",
        f"the screen's process takes {memory:.0f} MB",
    ]
    problem = ""
    if memory > MOST_MB:
        problem = f"the screen's process takes {memory:.0f} MB, more than {MOST_MB:g} MB"
    elif quantile(rates, 0.5) < LEAST_HZ:
        problem = f"a client got {quantile(rates, 0.5):.1f} states a second, less than {LEAST_HZ:g}"
    values, yardstick = (
        {"p99 median": quantile(p99[busy], 0.5), "p99 worst": max(p99[busy])} for busy in (True, False)
    )
    return [
        Row(NAME, "us", values, "without clients", yardstick, ratio_of="p99 median", note="; ".join(notes) + ".",
            missed=problem)
    ]  # fmt: skip
