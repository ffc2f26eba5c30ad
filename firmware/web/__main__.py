"""`python -m firmware.web`: the service screen's process. Started by the supervisor, and by nobody waited for."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import boards
from firmware.grid_codes import GridCodeError

EXIT_CONFIG = 2


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m firmware.web", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--dir", required=True, type=Path, help="run directory")
    args = parser.parse_args()
    try:
        from firmware.web.server import serve
    except ModuleNotFoundError as error:
        _say(f"The service screen needs {error.name}: pip install 'quadrant[web]', or set [web] enabled = false.")
        return EXIT_CONFIG
    try:
        board = boards.load(args.board, args.dir)
        return asyncio.run(serve(board, args.dir))
    except (boards.BoardError, GridCodeError) as error:
        _say(f"The service screen cannot start: {error}")
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
