"""A pseudo terminal for a process under test, and as much of a screen as the live view needs to be read again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path

_CSI = re.compile(r"\x1b\[([?]?)([0-9;]*)([A-Za-z])")


class Screen:
    """Cells of a terminal of `columns` x `rows`: text, CR, LF, cursor home and position, erase. Colours are ignored."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.alternate = False  # the other screen buffer is shown: what was there before comes back afterwards
        self.cursor_shown = True
        self._clear()

    def _clear(self) -> None:
        self._cells = [[" "] * self.columns for _ in range(self.rows)]
        self._x = self._y = 0

    def feed(self, text: str) -> str:
        """Take output; returns what is left of an unfinished escape sequence."""
        i = 0
        while i < len(text):
            char = text[i]
            if char == "\x1b":
                found = _CSI.match(text, i)
                if found is None:
                    if len(text) - i < 16:
                        return text[i:]
                    i += 2
                    continue
                self._obey(*found.groups())
                i = found.end()
                continue
            if char == "\r":
                self._x = 0
            elif char == "\n":
                self._x, self._y = 0, min(self._y + 1, self.rows - 1)
            elif char >= " " and self._x < self.columns:
                self._cells[self._y][self._x] = char
                self._x += 1
            i += 1
        return ""

    def _obey(self, private: str, numbers: str, letter: str) -> None:
        if private and numbers == "1049":
            self.alternate = letter == "h"
            self._clear()
        elif private and numbers == "25":
            self.cursor_shown = letter == "h"
        elif letter == "H":
            y, _, x = numbers.partition(";")
            self._y, self._x = min(int(y or 1), self.rows) - 1, min(int(x or 1), self.columns) - 1
        elif letter == "J":
            self._clear()

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]


class Terminal:
    """A process with a controlling terminal of its own: what is typed goes through the line discipline, as Ctrl-C."""

    def __init__(self, argv: list[str], cwd: Path, columns: int = 100, rows: int = 30) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.slave = os.dup(slave)  # kept open: its attributes are looked at when the process is gone
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=cwd,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)
        self.screen = Screen(columns, rows)
        self.frames = 0  # pieces of output that were drawn
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = ""
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                rest = self.screen.feed(rest + data.decode(errors="replace"))
                self.frames += 1

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def attributes(self) -> list[object]:
        return list(termios.tcgetattr(self.slave))

    def close(self) -> None:
        os.close(self.slave)
        self._thread.join(2.0)
        os.close(self._master)
