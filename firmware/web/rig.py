"""The fault panel's end of the rig's socket. The rig says itself which faults it has (docs/rig.md): nothing of it is
known here, and where there is no rig there is no panel."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

SOCKET = "rig.sock"
ANSWER_TIMEOUT_S = 5.0
MAX_LINE_BYTES = 1_000_000


class RigRefused(Exception):
    """The rig refused, or did not answer. One sentence."""


def there(run_dir: Path) -> bool:
    return (run_dir / SOCKET).is_socket()


async def ask(run_dir: Path, command: dict[str, Any]) -> dict[str, Any]:
    """One command to the rig, its answer. Raises RigRefused."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(run_dir / SOCKET), limit=MAX_LINE_BYTES)
            try:
                writer.write(msgspec.json.encode(command) + b"\n")
                answer = msgspec.json.decode(await reader.readuntil(b"\n"))
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise RigRefused("The rig does not answer.") from None
    if not isinstance(answer, dict):
        raise RigRefused("The rig's answer is not a JSON object.")
    if "error" in answer:
        raise RigRefused(f"The rig refused: {answer['error']}.")
    return answer
