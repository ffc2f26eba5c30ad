"""Serves the screen until it is told to end, and moves to another address when a password comes or goes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

import boards
from firmware.web.gate import Gate
from firmware.web.screen import Screen

LOOK_S = 1.0  # how often the password file is looked at
RETRY_S = 2.0  # an address that is taken is tried again
END_S = 2.0  # for answers that are under way


class _Server(uvicorn.Server):
    """Signals are ours: one server after another may serve in this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def address_of(listen: str, has_password: bool) -> str:
    """Where to listen: until there is a password, on the loopback only."""
    address = ipaddress.ip_address(listen)
    if has_password or address.is_loopback:
        return str(address)
    return "127.0.0.1" if address.version == 4 else "::1"


def bind(address: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = socket.socket(family, socket.SOCK_STREAM)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind((address, port))
        end.listen(64)
        end.setblocking(False)
    except OSError:
        end.close()
        raise
    return end


async def serve(board: boards.Board, run_dir: Path) -> int:
    """Until SIGTERM or SIGINT."""
    gate = Gate(run_dir, board.emulated, board.web.port, time.monotonic)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    told = ""
    while not stop.is_set():
        address = address_of(board.web.listen, gate.has_password)
        try:
            end = bind(address, board.web.port)
        except OSError as error:
            sentence = f"{address} port {board.web.port} cannot be served: {error.strerror}; it is tried again."
            if sentence != told:
                _say(sentence)
                told = sentence
            await asyncio.wait([stopped], timeout=RETRY_S)
            gate.look()
            continue
        shown = f"[{address}]" if ":" in address else address
        _say(f"Serving http://{shown}:{board.web.port}")
        screen = Screen(board, run_dir, gate)
        config = uvicorn.Config(
            screen.app, log_level="warning", access_log=False, ws="none", http="h11", loop="asyncio", lifespan="on",
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=1, limit_concurrency=64,
        )  # fmt: skip
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[end]))
        while not (stop.is_set() or serving.done()):
            await asyncio.wait([stopped, serving], timeout=LOOK_S)
            if gate.look() and address_of(board.web.listen, gate.has_password) != address:
                break  # a password was set, or the last one was taken away
        screen.feed.close()
        server.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await serving
        end.close()
    return 0
