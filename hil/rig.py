"""The real-time rig: plant and emulated devices of a board as processes, joined by shared memory and real links.

    python -m hil.rig --board boards/desk.toml --dir RUNDIR [--source 230,50|replay[:START_S]] [--soc 0.6]
                      [--plug-in-after S] [--json] [--with-stdin]

Says `rig ready` when every process answers. The processes live as long as the rig: each ends when its standard input
does, however the rig ends. The rig ends on SIGTERM, SIGINT, the death of its parent, the end of standard input
(--with-stdin), or the end of one of its processes (exit code 1, and a sentence on standard error).

Links: serial devices make a pseudo-terminal and the symbolic link RUNDIR/<port>, which a restarted guard opens again;
CAN devices open the board's buses. Commands: JSON lines on the Unix socket RUNDIR/rig.sock, see docs/rig.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import boards
from firmware.services.everest import modules_of
from firmware.services.secc import missing
from hal.can.bus import BusSpec
from hal.ports import HalError
from hil.faults import Fault, faults, shown
from hil.plant.link import FIELDS, SIZE_BYTES, PlantLink
from hil.plant.process import source_of

READY_S = 15.0  # seven interpreters start on a busy machine
ANSWER_S = 2.0
END_S = 2.0
LINE_BYTES = 65536
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class RigError(Exception):
    """The rig cannot start or go on. One sentence for the user."""


class Worker:
    """One process of the rig: commands go in one at a time, each is answered before the next."""

    def __init__(self, name: str, argv: list[str], python: list[str] | None = None) -> None:
        """python: interpreter and its first words; absent: ours, and the first of `argv` is a module."""
        self.name = name
        self._argv = [*(python or [sys.executable, "-m"]), *argv]
        self._lock = asyncio.Lock()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.process: asyncio.subprocess.Process | None = None
        self.last_words = ""

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C of the terminal is for the rig alone
        )
        self._tasks = [asyncio.create_task(self._read_answers()), asyncio.create_task(self._read_words())]

    async def _read_answers(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in _lines(self.process.stdout):
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if isinstance(answer, dict):
                self._answers.put_nowait(answer)

    async def _read_words(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async for line in _lines(self.process.stderr):
            self.last_words = line.decode(errors="replace").rstrip()
            print(f"{self.name}: {self.last_words}", file=sys.stderr, flush=True)

    async def ready(self) -> None:
        """Returns when the process has said so. Raises RigError when it ends instead, or takes too long."""
        assert self.process is not None
        first = asyncio.create_task(self._answers.get())
        end = asyncio.create_task(self.process.wait())
        await asyncio.wait((first, end), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        said = first.done()
        first.cancel()
        end.cancel()
        if said:
            return
        if self.process.returncode is None:
            raise RigError(f"The {self.name} did not answer within {READY_S:g} s.")
        await asyncio.wait(self._tasks, timeout=0.5)  # its last words may still be on the way
        raise RigError(f"The {self.name} could not start: {self.last_words or f'exit {self.process.returncode}'}")

    async def tell(self, command: dict[str, Any]) -> dict[str, Any]:
        """The process's own answer: {"ok": true} or {"error": SENTENCE}."""
        assert self.process is not None
        assert self.process.stdin is not None
        async with self._lock:
            while not self._answers.empty():  # an answer that came too late belongs to no one
                self._answers.get_nowait()
            try:
                self.process.stdin.write(json.dumps(command).encode() + b"\n")
                await self.process.stdin.drain()
                return await asyncio.wait_for(self._answers.get(), ANSWER_S)
            except (OSError, TimeoutError):
                return {"error": f"the {self.name} did not answer"}

    async def end(self) -> None:
        """Close its input; when that does not end it, terminate and at last kill it (this process only)."""
        if self.process is None:
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        for push in (self.process.terminate, self.process.kill, None):
            try:
                await asyncio.wait_for(self.process.wait(), END_S)
                break
            except TimeoutError:
                if push is not None:
                    print(f"The {self.name} did not end by itself.", file=sys.stderr, flush=True)
                    with contextlib.suppress(ProcessLookupError):
                        push()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the reader's limit: not one of ours
            continue
        if not line:
            return
        yield line


def workers_of(board: boards.Board, shm: str, run_dir: Path, source: str, soc: float, seed: int) -> dict[str, Worker]:
    """The processes of a board, by the names that commands use. Raises RigError."""
    if not board.emulated:
        raise RigError(f"The board {board.name} has real devices; a rig is only started for emulated boards.")
    common = ("--shm", shm)

    def bus(name: str) -> list[str]:
        spec = board.bus[name]
        if spec.interface == "virtual":
            raise RigError(f"The bus {name} is virtual: it does not reach other processes; use udp_multicast.")
        return ["--bus", str(BusSpec(spec.interface, spec.channel, spec.bitrate, spec.port))]

    def line(device: Any) -> list[str]:
        return ["--port", device.port, "--baud", str(device.baud), "--address", str(device.address)]

    vehicle = board.vehicle
    home = Path(__file__).resolve().parents[1]
    if vehicle.bus is not None:
        car, car_python = ["hil.devices.car", *bus(vehicle.bus)], None
    elif board.everest is not None:
        everest = board.everest
        car, car_python = ["hil.devices.everest", "--host", everest.host, "--port", str(everest.port)], None
        car += ["--modules", json.dumps(asdict(modules_of(board))), "--heartbeat", str(everest.heartbeat_s)]
    else:
        car = [str(home / "hil" / "ev" / "device.py"), "--interface", str(vehicle.interface), "--cache", str(run_dir)]
        car += ["--pki", vehicle.pki] if vehicle.pki is not None else []
        car_python = [str(home / vehicle.python), "-P"]
        if problem := missing(board):
            raise RigError(problem)
    lists = {
        "plant": ["hil.plant.process", "--source", source, "--soc", str(soc), "--record-dir", str(run_dir)],
        "converter": [
            "hil.devices.converter",
            *bus(board.converter.bus),
            *("--bitrate", str(board.bus[board.converter.bus].bitrate)),
            *("--address", str(board.converter.module_address)),
        ],
        "pilot": ["hil.devices.pilot", "--port", board.pilot.port],
        "car": car,
        "insulation": ["hil.devices.imd", *line(board.insulation)],
    }
    for kind, meter in (("ac", board.ac_meter), ("dc", board.dc_meter)):
        if meter is not None:
            state = str(run_dir / f"{kind}_meter.json")
            lists[f"{kind}_meter"] = ["hil.devices.meters", "--kind", kind, "--state", state, *line(meter)]
    return {
        name: Worker(name, [*argv, *common, "--seed", str(seed + k)], car_python if name == "car" else None)
        for k, (name, argv) in enumerate(lists.items())
    }


def serial_ports(board: boards.Board) -> list[Path]:
    devices = (board.pilot, board.insulation, board.ac_meter, board.dc_meter)
    return [Path(device.port) for device in devices if device is not None]


class Rig:
    def __init__(
        self, board: boards.Board, run_dir: Path, source: str = "230,50", soc: float = 0.5, seed: int = 1
    ) -> None:
        """Raises RigError before anything was started."""
        try:
            source_of(source)
        except ValueError as error:
            raise RigError(str(error)) from None
        if not 0.0 <= soc <= 1.0:
            raise RigError(f"--soc is {soc:g}, must be 0 to 1")
        self.run_dir = run_dir
        self.socket_path = run_dir / "rig.sock"
        if len(os.fsencode(self.socket_path)) > 107:
            raise RigError(f"{self.socket_path} is too long for a Unix socket (107 bytes); use a shorter --dir.")
        self._ports = serial_ports(board)
        grid = source.split(",")  # a recording has none
        f_hz = float(grid[1]) if len(grid) == 2 else None
        self._faults: dict[str, Fault] = {f.name: f for f in faults(board.grid.nominal_v, f_hz)}
        self._memory = shared_memory.SharedMemory(create=True, size=SIZE_BYTES)
        assert self._memory.buf is not None
        self.link = PlantLink(self._memory.buf)
        try:
            self.workers = workers_of(board, self._memory.name, run_dir, source, soc, seed)
        except (RigError, HalError) as error:
            self._free()
            raise RigError(str(error)) from None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    def _free(self) -> None:
        self.link.release()
        self._memory.close()
        self._memory.unlink()

    async def start(self) -> None:
        """Returns when everything is up. Raises RigError; call `end` in any case."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for port in self._ports:
            # A link of a killed rig may point at a terminal that belongs to somebody else by now.
            if port.is_symlink():
                port.unlink()
        for worker in self.workers.values():
            await worker.start()
        await asyncio.gather(*(worker.ready() for worker in self.workers.values()))
        with contextlib.suppress(FileNotFoundError):
            self.socket_path.unlink()
        mask = os.umask(0o177)  # whoever may open it may open contactors: the owner only
        try:
            self._server = await asyncio.start_unix_server(self._client, self.socket_path, limit=LINE_BYTES)
        finally:
            os.umask(mask)

    async def first_to_end(self) -> str:
        """Waits until one of the processes ends, which none should; returns a sentence."""
        waits = {asyncio.create_task(w.process.wait()): w for w in self.workers.values() if w.process is not None}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        worker = waits[done.pop()]
        assert worker.process is not None
        return f"The {worker.name} ended by itself (exit {worker.process.returncode}). {worker.last_words}".rstrip()

    async def obey(self, command: Any) -> dict[str, Any]:
        """One command of the socket; the answer. Never raises for a user's mistake."""
        if not isinstance(command, dict):
            return {"error": "a command is a JSON object"}
        if "device" in command:
            command = dict(command)
            name = command.pop("device")
            devices = [known for known in self.workers if known != "plant"]
            if name not in devices:
                return {"error": f"there is no device {name!r}; devices: {', '.join(devices)}"}
            return await self.workers[name].tell(command)
        if "plant" in command and len(command) == 1:
            if not isinstance(command["plant"], dict):
                return {"error": "plant: a JSON object is needed"}
            return await self.workers["plant"].tell(command["plant"])
        if "record" in command:
            return await self.workers["plant"].tell(command)
        if "read" in command and len(command) == 1:
            names = command["read"] if command["read"] != "all" else list(FIELDS)
            if not isinstance(names, list) or not all(isinstance(n, str) and n in FIELDS for n in names):
                return {"error": f'read: "all" or a list of fields is needed; fields: {", ".join(FIELDS)}'}
            return {"t": time.monotonic(), "values": {name: getattr(self.link, name) for name in names}}
        if command == {"faults": "list"}:
            return {"faults": [shown(fault) for fault in self._faults.values()]}
        if "fault" in command and set(command) <= {"fault", "values"}:
            return await self._inject(command["fault"], command.get("values", {}))
        return {"error": "unknown command; there are device, plant, read, record, faults and fault"}

    async def _inject(self, name: Any, values: Any) -> dict[str, Any]:
        fault = self._faults.get(name) if isinstance(name, str) else None
        if fault is None:
            return {"error": f"there is no fault {name!r}; faults: {', '.join(self._faults)}"}
        try:
            commands = fault.commands(values if isinstance(values, dict) else {"values": values})
        except ValueError as error:
            return {"error": str(error)}
        for command in commands:
            answer = await self.obey(command)
            if "error" in answer:
                return answer
        return {"ok": True}

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            while line := await reader.readline():
                try:
                    answer = await self.obey(json.loads(line))
                except ValueError as error:
                    answer = {"error": f"not a line of JSON: {error}"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):  # gone, or a line beyond LINE_BYTES, or the rig ends
            pass
        finally:
            self._clients.discard(task)
            writer.close()

    async def end(self) -> None:
        """Ends every process and frees the memory and the socket."""
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.cancel()
        await asyncio.gather(*(worker.end() for worker in self.workers.values()))
        with contextlib.suppress(FileNotFoundError):
            self.socket_path.unlink()
        self._free()


async def _stdin_end() -> None:
    """Returns when standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def run(rig: Rig, *, as_json: bool, plug_in_after_s: float | None, with_stdin: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    tasks: list[asyncio.Task[Any]] = [stopped]
    try:
        starting = asyncio.create_task(rig.start())
        tasks.append(starting)
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return 0
        starting.result()
        print(json.dumps({"ready": True}) if as_json else "rig ready", flush=True)
        watch = asyncio.create_task(rig.first_to_end())
        enders: list[asyncio.Task[Any]] = [stopped, watch]
        if with_stdin:
            enders.append(asyncio.create_task(_stdin_end()))
        tasks.extend(enders[1:])
        if plug_in_after_s is not None:
            tasks.append(asyncio.create_task(_plug_in(rig, plug_in_after_s)))
        await asyncio.wait(enders, return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and not stop.is_set():
            raise RigError(watch.result())
        return 0
    except RigError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await rig.end()


async def _plug_in(rig: Rig, after_s: float) -> None:
    await asyncio.sleep(after_s)
    answer = await rig.workers["car"].tell({"plug_in": True})
    if "error" in answer:
        print(f"The car was not plugged in: {answer['error']}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hil.rig", description="The emulated rig of a board, in real time.")
    parser.add_argument("--board", required=True, help="name or file of an emulated board")
    parser.add_argument("--dir", required=True, type=Path, help="run directory: serial links, rig.sock, recordings")
    parser.add_argument("--source", default="230,50", help="VOLTS,HERTZ or replay[:START_S]")
    parser.add_argument("--soc", type=float, default=0.5, help="the car's state of charge at start, 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plug-in-after", type=float, metavar="S", help="plug the car in S seconds after ready")
    parser.add_argument("--json", action="store_true", help='say {"ready": true} instead of "rig ready"')
    parser.add_argument("--with-stdin", action="store_true", help="end when standard input ends")
    options = parser.parse_args(argv)
    # However our parent dies, we are told and end cleanly (prctl(2)).
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        if options.plug_in_after is not None and options.plug_in_after < 0.0:
            raise RigError(f"--plug-in-after is {options.plug_in_after:g}, must be 0 or more seconds")
        run_dir = options.dir.resolve()
        board = boards.load(options.board, run_dir)
        rig = Rig(board, run_dir, options.source, options.soc, options.seed)
    except (RigError, boards.BoardError) as error:
        print(error, file=sys.stderr)
        return 1
    return asyncio.run(
        run(rig, as_json=options.json, plug_in_after_s=options.plug_in_after, with_stdin=options.with_stdin)
    )


if __name__ == "__main__":
    raise SystemExit(main())
