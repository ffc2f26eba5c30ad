"""`python -m firmware.guard`: the real-time process. Started by the supervisor, which hands it its socket."""

from __future__ import annotations

import argparse
import signal
import socket
import sys

import boards
from boards.build import build_converter, build_pilot, open_can, open_pilot_port
from firmware.grid_codes import GridCodeError
from firmware.guard.assemble import build_guard
from firmware.guard.loop import GuardLoop, ServicesLink, StopFlag
from firmware.guard.realtime import become_realtime
from hal.ports import HalError


def main() -> int:
    parser = argparse.ArgumentParser(prog="quadrant-guard", description=__doc__)
    parser.add_argument("--board", required=True, help="board name or file")
    parser.add_argument("--dir", required=True, help="run directory")
    parser.add_argument("--fd", required=True, type=int, help="inherited SOCK_SEQPACKET socket to services")
    parser.add_argument("--restarted", action="store_true", help="an earlier guard ended unexpectedly")
    args = parser.parse_args()
    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    try:
        board = boards.load(args.board, args.dir)
        guard = build_guard(board, restarted=args.restarted)
        can = open_can(board, board.converter.bus)
        serial = open_pilot_port(board)
    except (boards.BoardError, GridCodeError, HalError) as error:
        print(f"guard cannot start: {error}", file=sys.stderr)
        return 2
    converter, pilot = build_converter(board), build_pilot(board)
    services = ServicesLink(socket.socket(fileno=args.fd))
    refused = become_realtime(int(board.guard.priority))
    loop = GuardLoop(
        guard, converter, pilot, can, serial, services,
        realtime_refused=refused, channel=board.bus[board.converter.bus].channel,
    )  # fmt: skip
    try:
        loop.run(1.0 / board.guard.rate_hz, stop)
    except HalError as error:
        print(f"guard lost its hardware: {error}", file=sys.stderr)
        return 1
    finally:
        can.close()
        serial.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
