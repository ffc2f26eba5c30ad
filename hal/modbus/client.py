"""One Modbus RTU line: the only place that knows pymodbus.

pymodbus renames arguments and moves classes between minor versions, so drivers see `ModbusRtu` only. It adds what a
serial line needs and the library leaves open:

- RTU answers carry neither a transaction number nor the address of the registers. A late answer to an earlier request
  would be taken for the answer to the next one. So there are no silent retries; after a failed transaction the line is
  closed, left alone for `settle_s` and its input thrown away; and an answer must have the function code and the number
  of registers that were asked for. Drivers give every block of a device its own length for the same reason.
- Every transaction ends in a value or in a HalError whose sentence names device, address, port and what to check.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from hal.ports import HalError

# The library reports every silent device on its own logger; our callers get a HalError with a better sentence.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
PARITIES = ("N", "E", "O")
MAX_READ = 125  # registers a transaction (Modbus application protocol V1.1b3, 6.3 and 6.4)

_EXCEPTIONS = {  # Modbus application protocol V1.1b3, clause 7
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
}


class ModbusRtu:
    """One serial line with one or more devices; transactions are serialised.

    port: path of the serial device. baud: see BAUDS. parity: "N", "E" or "O" (always one stop bit: 8N1, 8E1, 8O1).
    timeout_s: what a device may take from the end of the request to the end of its answer, beyond the wire time that
    follows from the baud rate. gap_s: pause between two transactions (isoCHA425HV wants 20 ms between writes; the
    DJSF1352 does not answer requests that follow too closely). settle_s: see the module's text.

    Raises ValueError with a sentence for a wrong setting. Nothing is opened before the first transaction, and a lost
    line is opened again by the next one.
    """

    def __init__(
        self,
        port: str,
        baud: int,
        parity: str = "N",
        *,
        timeout_s: float = 0.5,
        gap_s: float = 0.02,
        settle_s: float = 0.25,
    ) -> None:
        if baud not in BAUDS:
            raise ValueError(f"{port}: baud rate {baud} is not one of {', '.join(map(str, BAUDS))}")
        if parity not in PARITIES:
            raise ValueError(f"{port}: parity {parity!r} is not one of N, E, O")
        if not 0.0 < timeout_s <= 10.0:
            raise ValueError(f"{port}: time-out {timeout_s} s is outside 0 to 10 s")
        self.port = port
        self.baud = baud
        self.parity = parity
        self.timeout_s = timeout_s
        self.gap_s = gap_s
        self.settle_s = settle_s
        self.transactions = 0  # started since construction
        self.failures = 0  # of them, how many ended in a HalError
        self._lock = asyncio.Lock()
        self._client: AsyncModbusSerialClient | None = None
        self._unsettled = False
        self._heard = 0  # bytes received in the running transaction

    @property
    def setting(self) -> str:
        """The line's setting as people write it, for example `19200 baud 8E1`."""
        return f"{self.baud} baud 8{self.parity}1"

    async def read_input(self, device: str, address: int, start: int, count: int) -> list[int]:
        """Input registers (function 4). device: its name for the sentence of a HalError. start: wire address."""
        return await self._read(device, address, start, count, 4)

    async def read_holding(self, device: str, address: int, start: int, count: int) -> list[int]:
        """Holding registers (function 3)."""
        return await self._read(device, address, start, count, 3)

    async def write(self, device: str, address: int, start: int, values: Sequence[int]) -> None:
        """Write holding registers (function 16). Returns when the device has confirmed start and number."""
        what = f"writing register {start}"

        def call(client: Any) -> Awaitable[Any]:
            return client.write_registers(start, list(values), device_id=address)  # type: ignore[no-any-return]

        answer = await self._transact(device, address, what, call, 16, 9 + 2 * len(values), 8)
        if (answer.address, answer.count) != (start, len(values)):
            raise self._broken(device, address, what, f"confirmed register {answer.address} instead")

    async def close(self) -> None:
        """Release the port. A later transaction opens it again."""
        async with self._lock:
            self._drop()

    # ------------------------------------------------------------------------------------------------------ internal
    async def _read(self, device: str, address: int, start: int, count: int, function: int) -> list[int]:
        if not 1 <= count <= MAX_READ:
            raise ValueError(f"{device}: cannot read {count} registers at once; 1 to {MAX_READ} are possible")
        what = f"reading {'input' if function == 4 else 'holding'} registers {start} to {start + count - 1}"

        def call(client: Any) -> Awaitable[Any]:
            read = client.read_input_registers if function == 4 else client.read_holding_registers
            return read(start, count=count, device_id=address)  # type: ignore[no-any-return]

        answer = await self._transact(device, address, what, call, function, 8, 5 + 2 * count)
        registers = list(answer.registers)
        if len(registers) != count:
            raise self._broken(device, address, what, f"answered with {len(registers)} registers instead of {count}")
        return registers

    async def _transact(
        self,
        device: str,
        address: int,
        what: str,
        call: Callable[[Any], Awaitable[Any]],
        function: int,
        request_bytes: int,
        answer_bytes: int,
    ) -> Any:
        async with self._lock:
            self.transactions += 1
            client = await self._open(device, address)
            self._heard = 0
            # 11 bits a character is the RTU character; without parity it is 10 and we wait a little longer.
            limit_s = self.timeout_s + (request_bytes + answer_bytes) * 11.0 / self.baud
            try:
                answer = await asyncio.wait_for(call(client), limit_s)
            except TimeoutError:
                if self._heard:
                    fault = f"sent {self._heard} bytes in {limit_s:.2f} s but no valid answer (noise or wrong checksum)"
                else:
                    fault = f"did not answer within {limit_s:.2f} s"
                raise self._broken(device, address, what, fault) from None
            except (ModbusException, OSError, ValueError, AttributeError) as error:
                # AttributeError: the library loses its transport while it sends when an adapter is pulled out.
                raise self._broken(device, address, what, f"was lost on the line ({error})") from None
            except asyncio.CancelledError:
                self._unsettled = True  # its answer is still to come
                self._drop()
                raise
            await asyncio.sleep(self.gap_s)
            if answer.isError():
                # A real answer, so the line is in order: nothing to settle.
                self.failures += 1
                code = int(getattr(answer, "exception_code", 0))
                raise HalError(
                    f"{self._place(device, address)} refused {what}: exception {code} "
                    f"({_EXCEPTIONS.get(code, 'unknown')}). Check that the device is the model that is configured."
                )
            if answer.function_code != function:
                raise self._broken(device, address, what, f"answered function {answer.function_code} instead")
            return answer

    def _place(self, device: str, address: int) -> str:
        return f"{device}, address {address} on {self.port},"

    def _broken(self, device: str, address: int, what: str, fault: str) -> HalError:
        """A failed transaction: the line settles before it is used again."""
        self.failures += 1
        self._unsettled = True
        self._drop()
        return HalError(
            f"{self._place(device, address)} {fault} ({what}). Check its supply, the A/B wires and termination, "
            f"its address, and that it is set to {self.setting}."
        )

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _open(self, device: str, address: int) -> AsyncModbusSerialClient:
        if self._client is not None and self._client.connected:
            return self._client
        self._drop()
        if self._unsettled:
            await asyncio.sleep(self.settle_s)
        if not os.path.exists(self.port):
            raise self._not_open(device, address, "there is no such port (is the adapter plugged in?)")
        # A pseudo-terminal (the emulated rig) has no parity bit, and asking for one is refused by the C library.
        pseudo = os.path.realpath(self.port).startswith("/dev/pts/")
        try:
            # pymodbus >= 3.16 wants a running loop at construction. Its own time-out and retries are out of play:
            # ours ends every transaction.
            client = AsyncModbusSerialClient(
                self.port,
                baudrate=self.baud,
                parity="N" if pseudo else self.parity,
                stopbits=1,
                bytesize=8,
                timeout=60.0,
                retries=0,
                reconnect_delay=0,
                trace_packet=self._trace,
            )
            opened = await client.connect()
        except Exception as error:
            # termios.error is no OSError, and the library lets it through.
            raise self._not_open(device, address, str(error)) from None
        if not opened:
            client.close()
            raise self._not_open(device, address, "it is in use or access is denied")
        await asyncio.sleep(0)  # lets the library hear of its own connection before the first request
        self._client = client
        self._unsettled = False  # opening throws waiting input away
        return client

    def _not_open(self, device: str, address: int, why: str) -> HalError:
        self.failures += 1
        return HalError(
            f"{self._place(device, address)} cannot be reached, the port does not open: {why}. "
            f"Check the port's name in the board file and the permission to use it."
        )

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._heard = len(data)  # the library passes its whole buffer each time
        return data


# ------------------------------------------------------------------------------------------------------------- decoding
def float32(registers: Sequence[int], index: int) -> float:
    """IEEE 754 single from two registers, high word first. Raises ValueError for nan or infinity."""
    value: float = struct.unpack(">f", struct.pack(">HH", registers[index], registers[index + 1]))[0]
    if not math.isfinite(value):
        raise ValueError(f"register {index} holds {value}, not a number")
    return value


def float32_registers(value: float) -> tuple[int, int]:
    """The two registers, high word first, of a single-precision float."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def int16(register: int) -> int:
    """A register as two's complement."""
    return register - 0x10000 if register & 0x8000 else register


def uint32(registers: Sequence[int], index: int) -> int:
    """Two registers, high word first."""
    return registers[index] << 16 | registers[index + 1]


def int32(registers: Sequence[int], index: int) -> int:
    """Two registers, high word first, two's complement."""
    value = uint32(registers, index)
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def ascii_text(registers: Sequence[int]) -> str:
    """Two characters a register, high byte first; blanks and zeros at the end are cut."""
    raw = b"".join(r.to_bytes(2, "big") for r in registers)
    return raw.decode("ascii", "replace").rstrip("\0 ").strip()
