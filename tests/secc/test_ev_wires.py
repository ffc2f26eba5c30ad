"""The veth between the rig's car and the charger: made by root, gone with the car's process however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hil.ev import wires

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces joined by a veth need root")
ROOT = Path(__file__).resolve().parents[2]
CAR = """
import socket, sys
sys.path.insert(0, sys.argv[2])
from hil.ev.wires import NoWires, join
try:
    end = join(sys.argv[1])
except NoWires as reason:
    end = f"refused {reason}"
print(end, *sorted(name for _, name in socket.if_nameindex()), flush=True)
sys.stdin.read()
"""


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


@needs_root
def test_the_veth_is_there_at_once_and_nothing_is_left_of_a_car_that_was_killed() -> None:
    name = f"v2gw{os.getpid()}"
    argv = [sys.executable, "-c", CAR, name, str(ROOT)]
    car = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert car.stdout is not None
        words = car.stdout.readline().split()
        if words[0] == "refused" and "permitted" in words:
            pytest.skip("this machine does not let root make network namespaces")
        assert words == [wires.CAR_INTERFACE, "lo", wires.CAR_INTERFACE]
        assert name in interfaces()
        assert wires.CAR_INTERFACE not in interfaces()
        # Its link-local address is not tentative: it can be used without waiting.
        rows = [row.split() for row in Path("/proc/net/if_inet6").read_text().splitlines() if row.split()[5] == name]
        assert [(row[0][:4], int(row[4], 16) & 0x40) for row in rows] == [("fe80", 0)]
    finally:
        car.send_signal(signal.SIGKILL)
        car.communicate()
    until = time.monotonic() + 60.0
    while name in interfaces():
        assert time.monotonic() < until, "the veth outlived its car"
        time.sleep(0.02)


@needs_root
def test_a_name_that_is_taken_is_refused_and_the_process_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "_GONE_S", 0.0)
    before = os.readlink("/proc/self/ns/net")
    with pytest.raises(wires.NoWires, match="there is an interface lo already"):
        wires.join("lo")
    assert os.readlink("/proc/self/ns/net") == before


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(wires.NoWires, match="a veth needs root"):
        wires.join("v2g-x")
