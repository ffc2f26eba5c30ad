"""Latched faults outlive processes and power: a welded contactor is still welded after a restart.

Services write down what guard has latched and tell every new guard; only an operator's `clear` empties the file.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

FILE = "latched.json"
AGAIN = 10  # policy value: what could not be written is tried again with every tenth snapshot, about once a second


class Latches:
    """The latched codes of one charger, durable in its run directory."""

    def __init__(self, run_dir: Path) -> None:
        """A file that cannot be read counts as empty: `problem` then says so."""
        self._path = run_dir / FILE
        self._boot = ""
        self._told = False
        self._waited = 0  # snapshots since a write was refused; 0: what is known is on the disk
        self.problem = ""
        self.codes: list[str] = []
        try:
            self.codes = msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            self.problem = f"{self._path} cannot be read ({error}): faults latched before are not known any more."

    def to_tell(self, boot: str) -> list[str]:
        """The codes that the guard of this boot must be told; empty once it has shown that it knows them."""
        if boot != self._boot:
            self._boot, self._told = boot, not self.codes
        return [] if self._told else self.codes

    def take(self, boot: str, latched: list[str]) -> None:
        """What guard has latched now. Until a new guard knows the old ones, its list cannot shorten ours."""
        if self.to_tell(boot):
            if not set(self.codes) <= set(latched):
                return
            self._told = True
        if sorted(latched) != sorted(self.codes):
            self.codes = list(latched)
            self._save()
        elif self._waited:
            self._waited += 1
            if self._waited > AGAIN:
                self._save()

    def _save(self) -> None:
        part = self._path.with_suffix(".part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(self.codes))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            self.problem, self._waited = "", 0
        except OSError as error:
            self._waited = 1
            self.problem = (
                f"{self._path} cannot be written ({error.strerror}): latched faults would not outlive a restart."
            )
