"""Rows: our EXI codec against the package's Java codec, in the same run: time a message, start, memory.

Both are called as the SECC package calls its codec (JSON text to bytes and back), in batches that take turns. The Java
figures include the way from Python into the JVM, because every message of a session takes it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from firmware.bridges.secc.exi.codec import DIN, ISO_2, ISO_20_DC, ExiCodec
from tests.bench.harness import Row, latency
from tests.secc.environment import ROOT, SECC_PYTHON, Oracle, codec, schemas
from tests.secc.test_exi_messages import CHARGE_LOOP, recorded

BATCHES = 20
_MEMORY = """
def resident_mb(pid='self'):
    return next(int(l.split()[1]) / 1024 for l in open(f'/proc/{pid}/status') if l.startswith('VmRSS'))
"""
# Process start to the first message decoded, then 200 more; prints the memory.
_OWN = f"""{_MEMORY}
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from firmware.bridges.secc.exi import ExiCodec
codec = ExiCodec(Path(sys.argv[1]), Path(sys.argv[2]))
decoded = codec.decode(bytes.fromhex(sys.argv[3]), sys.argv[4])
print('ready', flush=True)
for _ in range(200): codec.decode(codec.encode(decoded, sys.argv[4]), sys.argv[4])
print(resident_mb(), 0.0)
"""
_JAR = f"""{_MEMORY}
import sys
from iso15118.shared.exificient_exi_codec import ExificientEXICodec
codec = ExificientEXICodec()
decoded = codec.decode(bytes.fromhex(sys.argv[3]), sys.argv[4])
print('ready', flush=True)
for _ in range(200): codec.decode(codec.encode(decoded, sys.argv[4]), sys.argv[4])
print(resident_mb(), resident_mb(codec.gateway.java_process.pid))
codec.gateway.shutdown()
"""


def messages() -> list[tuple[str, str, dict[str, Any]]]:
    """What a charge loop exchanges: name, namespace, message."""
    chosen = [("-20 DC_ChargeLoopReq", ISO_20_DC, CHARGE_LOOP)]
    for label, namespace, kind in (("-2 CurrentDemandReq", ISO_2, "Req"), ("-2 CurrentDemandRes", ISO_2, "Res")):
        chosen.append((label, namespace, _recorded(namespace, "CurrentDemand" + kind)))
    return [*chosen, ("DIN CurrentDemandReq", DIN, _recorded(DIN, "CurrentDemandReq"))]


def _recorded(namespace: str, body: str) -> dict[str, Any]:
    for _, its_namespace, data in recorded():
        if its_namespace == namespace:
            message = codec().decode_message(data, namespace)
            if body in message["V2G_Message"]["Body"]:
                return message
    raise ValueError(f"no recorded {body}")


def rows() -> list[Row]:
    if schemas() is None or shutil.which("java") is None:
        return [Row("EXI codec", skipped="needs .venv-secc (make setup) and a Java runtime")]
    return [*_message_rows(), *_start_rows()]


def _message_rows() -> list[Row]:
    result = []
    with Oracle(java_options="") as oracle:  # as Java runs by itself: its speed is what is measured
        for label, namespace, message in messages():
            own: dict[str, list[float]] = {"encode": [], "decode": []}
            jar: dict[str, list[float]] = {"encode": [], "decode": []}
            if codec().encode_message(message, namespace) != oracle.jar_encode(message, namespace):
                raise ValueError(f"{label}: the codecs differ, so their times cannot be compared")
            oracle.jar_times(message, namespace, 60)  # the JVM compiles what it meets often
            for _ in range(BATCHES):
                for kind, times in oracle.jar_times(message, namespace, 10).items():
                    jar[kind] += times
                for kind, times in _own_times(message, namespace, 10).items():
                    own[kind] += times
            for kind in own:
                result.append(
                    Row(f"EXI {kind} {label}", "us", latency(own[kind]), "package's jar", latency(jar[kind]), "p50")
                )
    return result


def _own_times(message: dict[str, Any], namespace: str, count: int) -> dict[str, list[float]]:
    text, target = json.dumps(message), codec()
    data = target.encode(text, namespace)
    spent: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(count):
        begun = time.perf_counter()
        target.encode(text, namespace)
        between = time.perf_counter()
        target.decode(data, namespace)
        spent["encode"].append(between - begun)
        spent["decode"].append(time.perf_counter() - between)
    return spent


def _start_rows() -> list[Row]:
    folder = schemas()
    assert folder is not None
    data = codec().encode_message(CHARGE_LOOP, ISO_20_DC).hex()
    with tempfile.TemporaryDirectory() as cache:
        ExiCodec(folder, Path(cache)).preload()
        with tempfile.TemporaryDirectory() as empty:
            compiling = _start(sys.executable, _OWN, str(folder), empty, data)
        cached = [_start(sys.executable, _OWN, str(folder), cache, data) for _ in range(5)]
    jar = [_start(str(SECC_PYTHON), _JAR, "", "", data) for _ in range(5)]

    def median(runs: list[dict[str, float]]) -> dict[str, float]:
        return {name: sorted(run[name] for run in runs)[len(runs) // 2] for name in runs[0]}

    note = f"median of 5 starts of a process; without cached tables {compiling['start_ms']:.0f} ms"
    return [Row("EXI start and memory", "ms; MB", median(cached), "package's jar", median(jar), "start_ms", note)]


def _start(python: str, script: str, *arguments: str) -> dict[str, float]:
    """Process start to first message (ms), and resident memory after 200 more (MB), of Python and of its child."""
    begun = time.perf_counter()
    with subprocess.Popen(
        [python, "-c", script, *arguments, ISO_20_DC], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        spent = time.perf_counter() - begun
        memory = process.stdout.readline().split()
    if ready != "ready\n" or len(memory) != 2:
        raise ValueError(f"the process that measures the start failed: {ready!r} {memory!r}")
    return {"start_ms": 1000 * spent, "python_mb": float(memory[0]), "java_mb": float(memory[1])}
