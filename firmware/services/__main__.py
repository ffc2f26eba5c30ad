"""`python -m firmware.services`: the services process. Started by the supervisor, which hands it its socket."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from pathlib import Path

import boards
from boards.build import build_meters, build_vehicle, open_can
from firmware.grid_codes import GridCodeError
from firmware.guard.assemble import code_of
from firmware.recorder.schema import RecorderError
from firmware.services import back_end
from firmware.services.app import Services
from firmware.services.control import CannotServe
from firmware.services.devices import CarSide, MeterSide, VehicleSide
from firmware.services.everest import EverestSide, broker_of
from firmware.services.link import GuardLink
from firmware.services.records import Records
from firmware.services.secc import SOCKET, Rated, SeccSide, command
from hal.ports import HalError

EXIT_CONFIG = 2


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def settings_hash(board: boards.Board) -> str:
    """Of the grid-code settings that guard protects by; it goes into every disturbance record."""
    return code_of(board).profile_hash


async def serve(board: boards.Board, args: argparse.Namespace) -> int:
    clock = time.monotonic
    link = GuardLink(socket.socket(fileno=args.fd))
    bus = open_can(board, board.vehicle.bus) if board.vehicle.bus is not None else None
    try:
        highest_w = max(board.ratings.charge_w, board.ratings.discharge_w)
        records = Records(args.dir, highest_w, clock, time.time, _say, settings_hash(board))
        vehicle: CarSide
        if bus is not None:
            vehicle = VehicleSide(build_vehicle(board), bus, link.send, clock, _say)
        elif board.everest is not None:
            ledger = records.ledger
            vehicle = EverestSide(
                board, broker_of(board), lambda: (ledger.charged_wh, ledger.discharged_wh), link.send, clock, _say
            )
        else:
            ratings = board.ratings
            rated = Rated(ratings.charge_w, ratings.discharge_w, ratings.current_a)
            vehicle = SeccSide(command(board, args.dir), args.dir / SOCKET, rated, link.send, clock, _say)
        services = Services(
            board,
            args.dir,
            link,
            records,
            MeterSide(build_meters(board, clock), link.send, clock, _say),
            vehicle,
            clock=clock,
            say=_say,
            alive_fd=args.alive,
            restarted=args.restarted,
            back_end=back_end.start(board, args.dir, _say, args.restarted),
        )
        return await services.run()
    finally:
        if bus is not None:
            bus.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m firmware.services", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--dir", required=True, type=Path, help="run directory")
    parser.add_argument("--fd", required=True, type=int, help="inherited SOCK_SEQPACKET socket to guard")
    parser.add_argument("--alive", type=int, default=None, help="inherited pipe: a byte a second says that we live")
    parser.add_argument("--restarted", action="store_true", help="earlier services ended unexpectedly")
    args = parser.parse_args()
    try:
        board = boards.load(args.board, args.dir)
        return asyncio.run(serve(board, args))
    except (boards.BoardError, GridCodeError, HalError, RecorderError, CannotServe) as error:
        _say(f"services cannot start: {error}")
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
