"""Row: how late guard's loop primitive wakes under load, next to cyclictest under the same load.

`python -m tests.bench.wakeup --seconds 20` is the measured process: guard's own `Deadline` after guard's own
`become_realtime`, nothing else. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from firmware.guard.realtime import Deadline, become_realtime
from tests.bench.harness import Row, latency

RATE_HZ = 100.0  # of boards/desk.toml
PRIORITY = 50  # the same
LOAD = ("--cpu", "2", "--vm", "1", "--hdd", "1")
SETTLE_S = 2.0  # stress-ng's own start is not what is measured
NAME = f"guard wake-up lateness under stress-ng {' '.join(LOAD)}"
PACKAGES = {"stress-ng": "stress-ng", "cyclictest": "rt-tests"}


def measure(seconds: float, rate_hz: float, priority: int) -> dict[str, object]:
    """Run in a process of its own: it becomes real-time and stays so."""
    refused = become_realtime(priority)
    deadline = Deadline(1.0 / rate_hz)
    late_s = [deadline.wait() for _ in range(int(seconds * rate_hz))]
    return {"late_s": late_s, "missed": deadline.missed, "refused": list(refused)}


def missing(command: str) -> str:
    """One sentence when a command is not there, else empty."""
    if shutil.which(command):
        return ""
    return f"{command} is not installed (Debian package {PACKAGES[command]})"


@contextlib.contextmanager
def load(seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """stress-ng for at most `seconds`, in a temporary directory on a real disk; ended when the block ends."""
    disk = "/var/tmp" if os.path.isdir("/var/tmp") else None  # /tmp may be memory: --hdd needs a disk
    with tempfile.TemporaryDirectory(prefix="bench-load-", dir=disk) as directory:
        command = ["stress-ng", *LOAD, "--timeout", str(int(seconds)), "--temp-path", directory, "--quiet"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            time.sleep(SETTLE_S)
            yield process
        finally:
            process.terminate()
            process.wait(30)


def cyclictest_samples(result: dict[str, object]) -> list[float]:
    """Latencies in seconds from cyclictest's JSON. It counts whole microseconds, rounded down; wake-ups beyond the
    histogram are known by number only and count as the largest one, which can only make cyclictest look worse there."""
    (thread,) = result["thread"].values()  # type: ignore[attr-defined]
    samples = [int(us) * 1e-6 for us, count in thread["histogram"].items() for _ in range(count)]
    beyond = int(thread["cycles"]) - len(samples)
    return samples + [int(thread["max"]) * 1e-6] * max(0, beyond)


def run_cyclictest(seconds: float, rate_hz: float, priority: int | None) -> tuple[list[float], str]:
    """(latencies in seconds, ""), or ([], why there are none). priority None: ordinary scheduling."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        out = Path(directory) / "cyclictest.json"
        # --default-system: guard does not forbid power saving, so cyclictest must not either.
        command = ["cyclictest", "--quiet", "--default-system", "--threads=1", f"--interval={round(1e6 / rate_hz)}"]
        command += [f"--duration={round(seconds)}", "--histogram=1000000", f"--json={out}"]
        command += ["--policy=other"] if priority is None else ["--mlockall", f"--priority={priority}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode != 0 or not out.exists():
            return [], f"cyclictest failed: {(done.stderr or done.stdout).strip().splitlines()[:1]}"
        return cyclictest_samples(json.loads(out.read_text())), ""


def rows(seconds: float) -> list[Row]:
    why = missing("stress-ng")
    if why:
        return [Row(NAME, skipped=f"{why}: without the load the figure would mean nothing")]
    why = missing("cyclictest")
    own_command = [sys.executable, "-m", "tests.bench.wakeup", "--seconds", str(seconds)]
    with load(2 * seconds + 30) as stress:
        done = subprocess.run(own_command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode != 0:
            return [Row(NAME, skipped=f"the measured process failed: {done.stderr.strip()[-300:]}")]
        result = json.loads(done.stdout)
        realtime = not any("SCHED_FIFO" in text for text in result["refused"])
        yardstick: list[float] = []
        if not why:
            yardstick, why = run_cyclictest(seconds, RATE_HZ, PRIORITY if realtime else None)
        if stress.poll() is not None:
            return [
                Row(NAME, skipped=f"stress-ng ended by itself (exit code {stress.returncode}): the load was not there")
            ]
    scheduling = f"SCHED_FIFO {PRIORITY}" if realtime else "ordinary scheduling"
    notes = [f"{scheduling}, {RATE_HZ:g} Hz, {seconds:g} s each, one after the other under one load"]
    notes += [f"periods missed: {result['missed']}", *result["refused"]]
    if why:
        notes.append(f"yardstick SKIPPED: {why}")
    return [
        Row(
            NAME,
            "us",
            latency(result["late_s"]),
            f"cyclictest, {scheduling}",
            latency(yardstick) if yardstick else {},
            ratio_of="p99",
            note="; ".join(notes) + ".",
        )
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, RATE_HZ, PRIORITY)))
