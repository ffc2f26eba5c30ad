"""What people want of the charger, kept for the case that services end unexpectedly.

A discharge that somebody asked for must not turn into the board's own charging because a process died. Requests end
at monotonic times, so the file is only good on the same boot of the machine: after that nothing is wanted any more.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from firmware.services.requests import Request

FILE = "wishes.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Wishes(msgspec.Struct, frozen=True):
    """stopped: by the operator, until somebody starts again."""

    machine: str  # boot of the machine
    stopped: bool
    requests: list[Request]


def machine_boot() -> str:
    """Identity of this boot of the machine."""
    return _BOOT_ID.read_text().strip()


def save(run_dir: Path, stopped: bool, requests: list[Request]) -> None:
    """Replace the file in one step. It need not survive a power cut, so the disk is not waited for. Raises OSError."""
    part = run_dir / f"{FILE}.part"
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(Wishes(machine_boot(), stopped, requests)))
    part.replace(run_dir / FILE)


def load(run_dir: Path) -> Wishes | None:
    """What was wanted; None when nothing was, when the machine was started since, or when the file is no such file."""
    try:
        wishes = msgspec.json.decode((run_dir / FILE).read_bytes(), type=Wishes)
    except (OSError, msgspec.MsgspecError):
        return None
    return wishes if wishes.machine == machine_boot() else None


def forget(run_dir: Path) -> None:
    """The charger ends as asked: the next start begins without old wishes."""
    (run_dir / FILE).unlink(missing_ok=True)
