"""What a service manager wants to hear: readiness, a watchdog's pulse, and log lines that the journal can sort.

The protocol of `sd_notify` and of the `<N>` prefixes is that of systemd's manuals sd_notify(3), sd_watchdog_enabled(3)
and sd-daemon(3). Without a service manager everything here does nothing.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

_PLAIN = re.compile(r"[^\s\"=]+")


class Priority(enum.IntEnum):
    """Of a journal entry (syslog's)."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


class Notifier:
    """Tells the service manager. Never waits and never raises: a manager that does not listen is no fault of ours."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """address: of its datagram socket, `@` for an abstract one; "" = there is no manager."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.pulse_s = None if watchdog_s is None or not address else watchdog_s / 2.0  # as the manual recommends

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int | None = None) -> Notifier:
        """Takes the variables away, so that no child speaks for us."""
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, owner = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = not owner or owner == str(os.getpid() if pid is None else pid)
        watchdog_s = int(usec) / 1e6 if usec.isdecimal() and int(usec) > 0 and ours else None
        return cls(address, watchdog_s)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.setblocking(False)
            end.connect(self._address)
            end.send("\n".join(lines).encode())

    def ready(self, sentence: str) -> None:
        self._send("READY=1", f"STATUS={_one_line(sentence)}")

    def status(self, sentence: str) -> None:
        """For people: `systemctl status` shows it."""
        self._send(f"STATUS={_one_line(sentence)}")

    def pulse(self) -> None:
        """Must come more often than the watchdog's time."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=ramps down and opens")


def _one_line(sentence: str) -> str:
    return sentence.splitlines()[0] if sentence else ""


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Does this stream lead into the journal? (systemd.exec(5), JOURNAL_STREAM: device and inode of it.)"""
    try:
        device, inode = environ.get("JOURNAL_STREAM", "").split(":")
        stat = os.fstat(stream.fileno())
        return (stat.st_dev, stat.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def entry(priority: Priority, sentence: str, **fields: Any) -> str:
    """A line for the journal: priority, sentence, and what programs look for as key=value. A sentence of several lines
    becomes several entries; the first carries the fields."""
    first, *others = sentence.splitlines() or [""]
    pairs = [f"{key}={_value(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(f"<{int(priority)}>{line}" for line in (" ".join([first, *pairs]), *others))


def _value(value: Any) -> str:
    """Plain when that is unmistakable, else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
