"""What clients may do with the book of grid controls, each step with its sentences for the log and word to guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from firmware.grid_support.controls import ControlRefused, hash_of
from firmware.guard.messages import GridControls
from firmware.services.control import Refused
from firmware.services.grid_controls import MAX_BY_CHARS, Controls, change_sentence


class GridDesk:
    """The commands of the control socket about grid controls (firmware/services/control.py: GridCommands)."""

    def __init__(
        self,
        controls: Controls,
        wall_s: Callable[[], float],
        send: Callable[[GridControls], bool],
        tell: Callable[[str], None],
    ) -> None:
        """wall_s: seconds since the epoch. send: to guard; False when it was not taken. tell: a line of the log."""
        self._controls = controls
        self._wall_s = wall_s
        self._send = send
        self._tell = tell

    def advance(self) -> float:
        """Every second: schedules begin and end; what guard did not hear is said again. Returns the wall time."""
        now_s = self._wall_s()
        if self._controls.overdue(now_s):
            try:
                for sentence in self._controls.revert(now_s, "nobody confirmed it in time"):
                    self._log(sentence)
            except ControlRefused as error:  # it is tried again every second
                self._controls.problem = str(error)
        for change in self._controls.advance(now_s):
            self._log(change_sentence(change))
        self.tell_guard()
        return now_s

    def tell_guard(self, *, again: bool = False) -> None:
        """What is active goes to guard when it changed; `again`: also when it did not."""
        message = self._controls.message(self._wall_s(), again=again)
        if message is not None and self._send(message):
            self._controls.told(message)

    def change(self, change: Callable[[float], list[str]]) -> dict[str, Any]:
        """Carry a change of the book out now; guard and the log hear of it. Raises Refused."""
        now_s = self.advance()
        try:
            told = change(now_s)
        except ControlRefused as refusal:
            raise Refused(f"{refusal}.") from None
        for sentence in told:
            self._log(sentence)
        return {"told": told, **self.show()}

    def show(self) -> dict[str, Any]:
        return self._controls.show(self.advance())

    def set(
        self, controls: list[dict[str, Any]], source: str, replace: list[str], confirm_s: float | None
    ) -> dict[str, Any]:
        return self.change(lambda now_s: self._controls.set(controls, now_s, source, replace, confirm_s))

    def clear(self, control: str, source: str) -> dict[str, Any]:
        return self.change(lambda now_s: self._controls.clear(control, now_s, source[:MAX_BY_CHARS]))

    def confirm(self) -> dict[str, Any]:
        return self.change(lambda now_s: self._controls.confirm())

    def revert(self) -> dict[str, Any]:
        return self.change(lambda now_s: self._controls.revert(now_s, "as asked"))

    def _log(self, sentence: str) -> None:
        digest = hash_of(self._controls.book.active(self._wall_s()))
        self._tell(f"{sentence}; active now: sha256 {digest}")
