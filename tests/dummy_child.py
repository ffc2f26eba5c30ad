"""A small stand-in for guard or services, for the supervisor's tests: `python dummy_child.py ROLE DIR [options]`.

It notes every start in DIR/ROLE.starts and then does what DIR/ROLE.do says: `crash`, `config`, `run`, `hang`, `loud`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from firmware.guard.messages import FromGuard, Operator, PowerRequest, Snapshot, ToGuard
from tests.view_snapshot import BASE


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--alive", type=int)
    parser.add_argument("--restarted", action="store_true")
    args = parser.parse_args()
    do = (args.dir / f"{args.role}.do").read_text().strip()
    with (args.dir / f"{args.role}.starts").open("a") as file:
        file.write(f"{os.getpid()} {'restarted' if args.restarted else 'first'}\n")
    print(f"{args.role} does {do}", flush=True)
    if do == "crash":
        (args.dir / f"{args.role}.do").write_text("run")
        print("something broke", file=sys.stderr, flush=True)
        return 1
    if do == "config":
        print("this board is wrong", file=sys.stderr, flush=True)
        return 2
    if do == "hang":
        time.sleep(60.0)
    if args.role == "rig":
        print("rig ready", flush=True)
        time.sleep(60.0)
    end = socket.socket(fileno=args.fd)
    end.setblocking(False)
    return guard(end, args.dir) if args.role == "guard" else services(end, args.dir, args.alive)


def guard(end: socket.socket, directory: Path) -> int:
    """Ten snapshots a second; `down` 0.1 s after it was asked, or never when DIR/guard.stuck exists."""
    asked = None
    boot = str(os.getpid())
    while True:
        select.select([end], [], [], 0.02)
        try:
            while packet := end.recv(65536):
                message = msgspec.msgpack.decode(packet, type=ToGuard)
                if isinstance(message, Operator) and message.action == "shutdown" and asked is None:
                    asked = time.monotonic()
                    (directory / "guard.asked_by").write_text(message.source)
                if isinstance(message, PowerRequest):
                    (directory / "guard.request_of").write_text(message.source)
        except BlockingIOError:
            pass
        down = asked is not None and time.monotonic() - asked > 0.1 and not (directory / "guard.stuck").exists()
        snapshot = msgspec.structs.replace(BASE, t=time.monotonic(), boot=boot, down=down)
        with contextlib.suppress(BlockingIOError):
            end.send(msgspec.msgpack.encode(snapshot))


def services(end: socket.socket, directory: Path, alive: int) -> int:
    """Says that it lives, tells its name to guard, and on SIGTERM asks guard to shut down."""
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    first = True
    while True:
        select.select([end], [], [], 0.02)
        try:
            while packet := end.recv(65536):
                message = msgspec.msgpack.decode(packet, type=FromGuard)
                assert isinstance(message, Snapshot)
                if first:
                    first = False
                    (directory / "services.first_t").write_text(f"{message.t}")
                if message.down:
                    while (directory / "services.stuck").exists():  # as with a disk that takes nothing
                        time.sleep(0.1)
                    return 0
        except BlockingIOError:
            pass
        os.write(alive, b".")
        end.send(msgspec.msgpack.encode(PowerRequest(str(os.getpid()), 0.0, time.monotonic() + 1.0)))
        if stop or (directory / "shutdown.please").exists():
            end.send(msgspec.msgpack.encode(Operator("shutdown", "services")))


if __name__ == "__main__":
    sys.exit(main())
