"""The machine: Python, packages, SQLite, real-time privileges, clock, disk."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from firmware.doctor.finding import Line, fail, ok, warn

PYTHON_MIN = (3, 11)  # tomllib, enum.StrEnum, socket time-outs as TimeoutError
SQLITE_MIN = (3, 22, 0)  # first with readers of a WAL data base in a read-only directory (sqlite.org/wal.html)
DISK_WARN_BYTES = 200_000_000
DISK_FAIL_BYTES = 20_000_000
MLOCK_NEED_BYTES = 128 * 1024 * 1024  # guard's locked memory with a margin; its resident set is below 64 MiB
CLOCK_ERROR_WARN_US = 1_000_000  # an event's wall time should be right to a second


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Line:
    text = f"Python {version[0]}.{version[1]}"
    if version < PYTHON_MIN:
        return fail("python", f"{text} is too old", f"install Python {PYTHON_MIN[0]}.{PYTHON_MIN[1]} or newer")
    return ok("python", f"{text} ({platform.machine()})")


def check_packages(requirements: list[str] | None = None) -> Iterator[Line]:
    """Whether each run-time dependency is there; versions as installed. None = what the package itself declares."""
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("quadrant") or []
        except importlib.metadata.PackageNotFoundError:
            yield fail("packages", "the package `quadrant` is not installed", "run `make setup` or `pip install .`")
            return
    found = []
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if name is None:
            continue
        try:
            found.append(f"{name[0]} {importlib.metadata.version(name[0])}")
        except importlib.metadata.PackageNotFoundError:
            yield fail("packages", f"{name[0]} is not installed", f"pip install '{requirement}'")
    yield ok("packages", ", ".join(found) or "none needed")


def check_optional(module: str, check: str, use: str, remedy: str) -> Line:
    """A module that only some commands need."""
    try:
        present = importlib.util.find_spec(module) is not None
    except ImportError:
        present = False
    return ok(check, f"{module} is there") if present else warn(check, f"{module} is missing: {use}", remedy)


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Line:
    text = f"SQLite {'.'.join(map(str, version))}"
    if version < SQLITE_MIN:
        return fail("sqlite", f"{text} is too old", f"SQLite {'.'.join(map(str, SQLITE_MIN))} or newer is needed")
    return ok("sqlite", text)


def check_fifo(priority: int) -> Line:
    """Tries SCHED_FIFO in a child, so that this process keeps its own scheduling."""
    check = "SCHED_FIFO"
    code = f"import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param({priority:d}))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode == 0:
        return ok(check, f"priority {priority} is permitted")
    return warn(
        check,
        f"priority {priority} is refused: guard would run late under load",
        "AmbientCapabilities=CAP_SYS_NICE in the unit, or `rtprio 99` in /etc/security/limits.d",
    )


def check_mlock(limit: tuple[int, int] | None = None, privileged: bool | None = None) -> Line:
    """Whether guard may lock its memory: RLIMIT_MEMLOCK, or CAP_IPC_LOCK which lifts it."""
    check = "locked memory"
    soft = (resource.getrlimit(resource.RLIMIT_MEMLOCK) if limit is None else limit)[0]
    if privileged if privileged is not None else has_capability(14):  # CAP_IPC_LOCK, linux/capability.h
        return ok(check, "CAP_IPC_LOCK: not limited")
    if soft == resource.RLIM_INFINITY or soft >= MLOCK_NEED_BYTES:
        return ok(check, "the limit is high enough")
    return warn(
        check,
        f"at most {soft // 1024} KiB may be locked: guard may have to wait for the disk",
        "AmbientCapabilities=CAP_IPC_LOCK or LimitMEMLOCK=infinity in the unit",
    )


def has_capability(bit: int, status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process holds a capability in its effective set."""
    try:
        found = re.search(r"^CapEff:\s*([0-9a-fA-F]+)", status.read_text(), re.MULTILINE)
    except OSError:
        return False
    return found is not None and bool(int(found[1], 16) >> bit & 1)


def check_timer_slack() -> Line:
    """Whether a process may set its timer slack to 1 ns (PR_SET_TIMERSLACK); tried in a child."""
    code = (
        "import ctypes; l = ctypes.CDLL(None); raise SystemExit(l.prctl(29, 1, 0, 0, 0) or l.prctl(30, 0, 0, 0, 0) - 1)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=20, check=False)
    if done.returncode == 0:
        return ok("timer slack", "can be set to 1 ns")
    return warn("timer slack", "cannot be set: 50 us more lateness without SCHED_FIFO", "none needed with SCHED_FIFO")


def check_preempt_rt(path: Path = Path("/sys/kernel/realtime"), version: str | None = None) -> Line:
    version = platform.version() if version is None else version
    try:
        realtime = path.read_text().strip() == "1"
    except OSError:
        realtime = "PREEMPT_RT" in version
    if realtime:
        return ok("PREEMPT_RT", f"real-time kernel {platform.release()}")
    return warn(
        "PREEMPT_RT",
        f"{platform.release()} is not a real-time kernel: worst-case lateness is not bounded",
        "install a PREEMPT_RT kernel (Debian: linux-image-rt-amd64 or -arm64) on a charger; a desk needs none",
    )


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2); what follows `maxerror` and `status` is not needed but must have its room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


STA_UNSYNC = 0x0040  # include/uapi/linux/timex.h
TIME_ERROR = 5


def read_clock() -> tuple[int, int, int]:
    """(return value, status bits, maximum error in us) of adjtimex in read mode. Raises OSError."""
    timex = _Timex()  # modes = 0: read only
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.adjtimex(ctypes.byref(timex)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, timex.status, timex.maxerror


def check_clock(state: tuple[int, int, int] | None = None) -> Line:
    """Whether the kernel's clock is synchronised. Only records need it: control and protection use monotonic time."""
    check = "clock"
    remedy = "install chrony or enable systemd-timesyncd; until then do not rely on wall times in the records"
    try:
        result, status, error_us = read_clock() if state is None else state
    except OSError as error:
        return warn(check, f"the clock's state cannot be read ({error.strerror})", "allow adjtimex in the sandbox")
    if result == TIME_ERROR or status & STA_UNSYNC:
        return warn(check, "the clock is not synchronised", remedy)
    if error_us > CLOCK_ERROR_WARN_US:
        return warn(check, f"the clock may be wrong by {error_us / 1e6:.1f} s", remedy)
    return ok(check, f"synchronised, at most {error_us / 1000:.1f} ms wrong")


def check_disk(run_dir: Path, free_bytes: int | None = None) -> Line:
    """Whether the run directory can hold records. Creates nothing: looks at the nearest directory that exists."""
    check = f"disk {run_dir}"
    place = run_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return fail(check, f"{place} may not be written", "choose another directory with --dir or QUADRANT_DIR")
    try:
        free = shutil.disk_usage(place).free if free_bytes is None else free_bytes
    except OSError as error:
        return fail(check, f"{place} cannot be examined: {error.strerror}", "choose another directory with --dir")
    if free < DISK_FAIL_BYTES:
        return fail(check, f"only {free // 1_000_000} MB free", "free some space: records cannot be kept")
    if free < DISK_WARN_BYTES:
        return warn(check, f"{free // 1_000_000} MB free", "free some space before records fill the disk")
    return ok(check, f"{free // 1_000_000} MB free")
