"""What car and charger said to each other, on the disk: one file a session, every V2GTP frame with its time.

Written by the process `secc` itself, in one thread of its own: neither guard nor services nor an answer to the car ever
waits for the disk. Once a second what has come is compressed, written and flushed, so a power cut costs a second. The
file is a zlib stream of JSON lines; what is cut off at its end can still be read up to there. Standard library only.

Line 1: {"v": 1, "t_wall", "t", "interface", "tls", "car": [address, port], "charger": [...], "sdp": [FRAME, ...]}
then:   {"t", "from": "car" or "charger", "frame": hex} and at last {"t", "end": reason}
`t`: CLOCK_MONOTONIC seconds. Frames of a TLS session are what was inside.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import queue
import re
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = "v2g"  # in the run directory
SUFFIX = ".v2g"
FLUSH_S = 1.0
WAITING_MAX = 20_000  # frames in memory while the disk refuses; some minutes of a session
FILE_MAX_BYTES = 64_000_000  # of one session: a day of it, for a loop takes some 60 B compressed (own choice)
KEPT = 200  # sessions
KEPT_BYTES = 512_000_000
_HEX = re.compile(r"([0-9a-f]{2})*")
_ID = re.compile(r"\d{8}-\d{6}(-\d+)?")


class RecordingError(Exception):
    """There is no such session, or its file cannot be read. One sentence."""


class Recorder:
    """All sessions of one SECC. Every method returns at once and never raises for the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(WAITING_MAX)
        self._ended = threading.Event()
        self._file: Any = None
        self._packer: Any = None
        self._written = 0
        self._said = ""
        self.lost = 0  # lines that found the memory full
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, **about: Any) -> None:
        """A connection stands."""
        self._put("begin", {"v": 1, "t_wall": time.time(), "t": time.monotonic(), **about})

    def frame(self, sender: str, frame: bytes) -> None:
        """sender: `car` or `charger`."""
        self._put("line", {"t": time.monotonic(), "from": sender, "frame": frame.hex()})

    def end(self, reason: str) -> None:
        self._put("end", {"t": time.monotonic(), "end": reason})

    def close(self, timeout_s: float = 2.0) -> None:
        """What waits is written first, for so long."""
        self._ended.set()
        self._thread.join(timeout_s)

    def _put(self, kind: str, line: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait((kind, line))
        except queue.Full:
            self.lost += 1

    # ------------------------------------------------------------------------------------------------- its own thread
    def _run(self) -> None:
        while True:
            last = self._ended.wait(FLUSH_S)
            items = []
            with contextlib.suppress(queue.Empty):
                while True:
                    items.append(self._queue.get_nowait())
            try:
                for kind, line in items:
                    self._take(kind, line)
                self._flush()
            except OSError as error:
                self._drop(f"The messages of this session are not recorded: {error}.")
            if last:
                with contextlib.suppress(OSError):
                    self._finish()
                return

    def _take(self, kind: str, line: dict[str, Any]) -> None:
        if kind == "begin":
            self._finish()
            self._open(line["t_wall"])
        if self._file is None or self._written > FILE_MAX_BYTES:
            return
        self._write(self._packer.compress(json.dumps(line, separators=(",", ":")).encode() + b"\n"))
        if kind == "end":
            self._finish()

    def _open(self, t_wall: float) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_room()
        stem = time.strftime("%Y%m%d-%H%M%S", time.gmtime(t_wall))
        for name in (stem, *(f"{stem}-{k}" for k in range(2, 100))):
            with contextlib.suppress(FileExistsError):
                # Whoever may read it knows when which car was here: the owner only.
                handle = os.open(self._folder / (name + SUFFIX), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._file, self._packer, self._written = os.fdopen(handle, "wb"), zlib.compressobj(6), 0
                return

    def _make_room(self) -> None:
        files = sorted(self._folder.glob(f"*{SUFFIX}"))
        sizes = [file.stat().st_size for file in files]
        while files and (len(files) >= KEPT or sum(sizes) > KEPT_BYTES):
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._written += len(chunk)

    def _flush(self) -> None:
        if self._file is not None:
            self._write(self._packer.flush(zlib.Z_SYNC_FLUSH))
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def _finish(self) -> None:
        if self._file is None:
            return
        self._write(self._packer.flush(zlib.Z_FINISH))
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._file.close()
        self._file = None

    def _drop(self, sentence: str) -> None:
        """The disk refuses: this session is given up, the next one is tried again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        if sentence != self._said:
            self._said = sentence
            print(f"secc: {sentence}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------------------- reading
def sessions(folder: Path) -> list[str]:
    """The identities of the recorded sessions, oldest first: `20261120-072959`, in UTC."""
    return sorted(
        (file.stem for file in folder.glob(f"*{SUFFIX}") if _ID.fullmatch(file.stem)),
        key=lambda name: (name[:15], int(name[16:] or 1)),
    )


def read(folder: Path, identity: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """First line and the others of a session. Raises RecordingError with a sentence."""
    if not _ID.fullmatch(identity):
        raise RecordingError(f"{identity!r} is no session; `quadrant session list` names them.")
    try:
        packed = (folder / (identity + SUFFIX)).read_bytes()
    except OSError as error:
        raise RecordingError(f"The session {identity} cannot be read: {error.strerror}.") from None
    lines = list(_lines(packed))
    if not lines or not _is_beginning(lines[0]):
        raise RecordingError(f"The session {identity} has no beginning: it was cut off, or is of another version.")
    return lines[0], [line for line in lines[1:] if _is_line(line)]


def _is_beginning(line: Mapping[str, Any]) -> bool:
    return (
        line.get("v") == 1
        and all(_is_time(line.get(name)) for name in ("t", "t_wall"))
        and all(isinstance(line.get(name), str) for name in ("interface", "tls"))
        and all(_is_end(line.get(name)) for name in ("car", "charger"))
        and isinstance(line.get("sdp"), list)
        and all(isinstance(one, dict) and _is_asking(one) for one in line["sdp"])
    )


def _is_asking(one: Mapping[str, Any]) -> bool:
    return "frame" in one and _is_line(one) and _is_end(one.get("car"))


def _is_end(value: object) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)):
        return False
    try:
        ipaddress.IPv6Address(value[0].partition("%")[0])
    except ValueError:
        return False
    return 0 <= value[1] <= 65535


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0.0 <= value < 4e9


def _is_line(line: Mapping[str, Any]) -> bool:
    if not _is_time(line.get("t")):
        return False
    if "end" in line:
        return isinstance(line["end"], str) and "frame" not in line
    hexes = line.get("frame")
    return line.get("from") in ("car", "charger") and isinstance(hexes, str) and bool(_HEX.fullmatch(hexes))


def _lines(packed: bytes) -> Iterator[Mapping[str, Any]]:
    """Up to the end, or up to where it was cut off."""
    unpacker = zlib.decompressobj()
    text = bytearray()
    with contextlib.suppress(zlib.error):
        for at in range(0, len(packed), 4096):
            text += unpacker.decompress(packed[at : at + 4096])
    for line in bytes(text).split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            return
        if isinstance(value, dict):
            yield value
