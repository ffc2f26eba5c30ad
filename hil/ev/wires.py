"""The rig's car in a network namespace of its own, joined to the charger's by a veth: the modem's place on a desk.

The namespace has no name and belongs to this process alone. However the process ends, the kernel takes the namespace
and with it both ends of the veth: nothing can be left behind. Standard library and the command `ip`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

CAR_INTERFACE = "v2gcar"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_GONE_S = 2.0  # the kernel takes the namespace of a rig that has just ended a moment after its process
_libc = ctypes.CDLL(None, use_errno=True)


class NoWires(Exception):
    """There can be no veth here. One sentence."""


def join(interface: str) -> str:
    """Move this process into a namespace of its own, with a veth to where it was; returns the car's end of it.

    interface: name of the charger's end, 15 characters at most. To be called before any thread is started. Raises
    NoWires, and then the process is where it was.
    """
    if os.geteuid() != 0:
        raise NoWires("a veth needs root")
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _free(interface)
        _call(_libc.unshare(_CLONE_NEWNET), "a network namespace of its own is not permitted")
        try:
            veth = ("type", "veth", "peer", "name", CAR_INTERFACE, "netns", str(os.getpid()))
            _run(home, "ip", "link", "add", interface, *veth)
            _up(home, interface)
            _run(None, "ip", "link", "set", "lo", "up")
            _up(None, CAR_INTERFACE)
        except NoWires:
            _call(_libc.setns(home, _CLONE_NEWNET), "the way back into the namespace of the rig is closed")
            raise
    finally:
        os.close(home)
    return CAR_INTERFACE


def _free(interface: str) -> None:
    until = time.monotonic() + _GONE_S
    while (Path("/sys/class/net") / interface).exists():
        if time.monotonic() > until:
            raise NoWires(f"there is an interface {interface} already: does another rig run?")
        time.sleep(0.05)


def _call(result: int, sentence: str) -> None:
    if result != 0:
        raise NoWires(f"{sentence} ({os.strerror(ctypes.get_errno())})")


def _up(namespace: int | None, interface: str) -> None:
    """Its link-local address counts at once: nobody else can have it on a veth."""
    switch = f"/proc/sys/net/ipv6/conf/{interface}/accept_dad"
    _run(namespace, "sh", "-c", f"test ! -w {switch} || echo 0 > {switch}")
    _run(namespace, "ip", "link", "set", interface, "up")


def _run(namespace: int | None, *words: str) -> None:
    """namespace: descriptor of the one to run in; None: our own."""

    def enter() -> None:  # between fork and exec
        if namespace is not None and _libc.setns(namespace, _CLONE_NEWNET) != 0:
            os._exit(1)

    try:
        subprocess.run(words, check=True, capture_output=True, timeout=10.0, preexec_fn=enter)
    except FileNotFoundError:
        raise NoWires(f"the command `{words[0]}` is missing (Debian: iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NoWires(f"`{' '.join(words)}`: {error.stderr.decode(errors='replace').strip()}") from None
    except subprocess.TimeoutExpired:
        raise NoWires(f"`{' '.join(words)}` does not end") from None
