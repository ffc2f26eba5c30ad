"""The controls of the grid functions, kept: set, cleared, ended, superseded, durable, and told to guard.

Services keep the book (wall time, a file that outlives power) and tell guard which controls are active; guard lays
them over its own grid code, checks them again and says what became of it. When services die, what is active stays in
force in guard: a tightened trip never loosens because a process died.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boards import Board
from firmware.grid_support.controls import Book, Change, Control, ControlRefused, as_dict, control_of, hash_of
from firmware.grid_support.effective import Effective, compose
from firmware.grid_support.settings import settings_of
from firmware.guard.assemble import chain_of, code_of
from firmware.guard.messages import GridControls
from firmware.services import trial
from firmware.services.in_force import in_force

FILE = "grid_controls.json"
MAX_BY_CHARS = 40


class Controls:
    """The book of one charger in its run directory. `problem`: a sentence while it cannot be read or written."""

    def __init__(self, run_dir: Path, board: Board, now_s: float) -> None:
        """Reads the file. One that cannot be understood is set aside under another name and counts as empty."""
        self._code = code_of(board)
        self._support, self._chain = (
            settings_of(self._code, max(board.ratings.charge_w, board.ratings.discharge_w)),
            chain_of(board),
        )
        self._path = run_dir / FILE
        self._told = ""  # hash of what guard was told last
        self.problem = ""
        self.book = Book()
        self.trial: trial.Trial | None = None
        try:
            raw = json.loads(self._path.read_bytes())
            left = raw.pop("trial", None) if isinstance(raw, dict) else None
            book = Book.from_dict(raw)
            self.trial = None if left is None else trial.from_dict(left)
            self.book = book
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:  # ControlRefused and bad JSON are both ValueErrors
            aside = self._path.with_suffix(".bad")
            self.problem = f"{self._path} cannot be read ({error}); it is kept as {aside.name}, and no control is set."
            try:
                self._path.replace(aside)
            except OSError:
                self.problem = f"{self._path} cannot be read ({error}); no control is set."

    def set(
        self,
        raw: Sequence[Mapping[str, Any]],
        now_s: float,
        by: str,
        replace: Sequence[str] = (),
        confirm_s: float | None = None,
    ) -> list[str]:
        """Take controls in the place of those that `replace` names, all or none; returns a sentence for each. With
        confirm_s on trial: taken back after so long unless `confirm` was called. Raises ControlRefused with the first
        reason: it is wrong, it contradicts the grid code at some moment of the book, or it cannot be stored.

        There is one trial at a time: one that goes on is taken back, unless this is refused."""
        if not (1 <= len(by) <= MAX_BY_CHARS and by.isprintable()):
            raise ControlRefused(f"source must be 1 to {MAX_BY_CHARS} printable characters, not {by!r}")
        if not raw and not replace:
            raise ControlRefused("there is no control to set")
        before, told = self._before(now_s, f"{by} sets something else")
        book, done = Book.from_dict(before.as_dict()), []
        for name in replace:
            found = book.clear(name)
            done.append(f"cleared {found.id}: {found.kind.value}, by {by}")
        for table in raw:
            control = control_of(table, now_s, by)
            supersedes = book.set(control, now_s)
            done.append(f"set {_set_sentence(control, supersedes)}")
        self._check(book, now_s)
        self._store(book, None if confirm_s is None else trial.begin(now_s, confirm_s, before, tuple(done), by))
        return [*told, *done]

    def clear(self, control_id: str, now_s: float, by: str) -> list[str]:
        """Returns sentences. Raises ControlRefused when there is none, or when the book cannot be stored."""
        before, told = self._before(now_s, f"{by} clears something")
        book = Book.from_dict(before.as_dict())
        found = book.clear(control_id)
        self._store(book, None)
        return [*told, f"cleared {found.id}: {found.kind.value}, by {by}"]

    def confirm(self) -> list[str]:
        """What is on trial stays. Raises ControlRefused when nothing is, or when that cannot be stored."""
        if self.trial is None:
            raise ControlRefused("no change is on trial: it was confirmed or taken back before")
        told = [f"confirmed: {sentence}" for sentence in self.trial.told]
        self._store(self.book, None)
        return told

    def revert(self, now_s: float, why: str) -> list[str]:
        """What is on trial is taken back: the book is as if it had never been. Raises ControlRefused when nothing is,
        or when that cannot be stored."""
        if self.trial is None:
            raise ControlRefused("no change is on trial: it was confirmed or taken back before")
        before, told = self._before(now_s, why)
        self._store(before, None)
        return told

    def _before(self, now_s: float, why: str) -> tuple[Book, list[str]]:
        """The book without what is on trial, and sentences that tell so."""
        if self.trial is None:
            return self.book, []
        before = Book.from_dict(self.trial.before.as_dict())
        before.advance(now_s)
        return before, [f"taken back ({why}): {sentence}" for sentence in self.trial.told]

    def overdue(self, now_s: float) -> bool:
        """Whether nobody has confirmed in time what is on trial."""
        return self.trial is not None and self.trial.over(now_s)

    def advance(self, now_s: float) -> tuple[Change, ...]:
        """What was due; stored when anything changed."""
        changes = self.book.advance(now_s)
        if changes:
            try:
                self._store(self.book, self.trial)
            except ControlRefused as error:
                self.problem = str(error)
        return changes

    def message(self, now_s: float, *, again: bool = False) -> GridControls | None:
        """What guard must know, or None when it has been told. again: a guard that has just started knows nothing."""
        active = self.book.active(now_s)
        digest = hash_of(active)
        if digest == self._told and not again:
            return None
        if not active and not self._told:
            return None  # guard begins without any
        return GridControls(digest, [as_dict(c) for c in active])

    def told(self, message: GridControls) -> None:
        self._told = message.hash

    def show(self, now_s: float) -> dict[str, Any]:
        """For `controls`: every control with its state, what is in force and from whom."""
        active = {c.id for c in self.book.active(now_s)}
        listed = []
        for control in sorted(self.book.controls.values(), key=lambda c: c.set_no):
            state = "active" if control.id in active else "waiting" if now_s < control.start_s else "superseded"
            listed.append({**as_dict(control), "state": state})
        refused = ""
        try:
            effective = self._compose(self.book, now_s)
        except ControlRefused as error:  # the board has another grid code since they were set
            effective, refused = Effective(self._code, self._support), str(error)
        return {
            "refused": refused,
            "trial": None if self.trial is None else self.trial.shown(now_s),
            "controls": listed,
            "sources": dict(effective.sources),
            "functions": [{"name": n, "clause": c} for n, c in effective.support.functions()],
            "trips": [
                {"id": t.id, "threshold": t.threshold.value, "unit": t.threshold.unit,
                 **{key: s.value for key, s in t.numbers() if key != "threshold"}}
                for t in effective.code.trips
            ],
            "hash": hash_of(self.book.active(now_s)),
        }  # fmt: skip

    def in_force(self, now_s: float) -> dict[str, Any]:
        """For the header of a disturbance record."""
        try:
            effective = self._compose(self.book, now_s)
        except ControlRefused:
            effective = Effective(self._code, self._support)
        digest = hash_of(self.book.active(now_s))
        return in_force(effective.code, effective.support.functions(), dict(effective.sources), digest)

    def _compose(self, book: Book, now_s: float) -> Effective:
        return compose(self._code, self._support, self._chain, book.active(now_s))

    def _check(self, book: Book, now_s: float) -> None:
        """At every moment at which the set of active controls changes. Raises ControlRefused."""
        ahead = Book.from_dict(book.as_dict())
        for moment in book.instants(now_s):
            ahead.advance(moment)
            self._compose(ahead, moment)

    def _store(self, book: Book, on_trial: trial.Trial | None) -> None:
        """Durable before it counts. Raises ControlRefused, and then nothing has changed."""
        part = self._path.with_suffix(".part")
        content = book.as_dict() | ({} if on_trial is None else {"trial": on_trial.as_dict()})
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ControlRefused(f"{self._path} cannot be written ({error.strerror}); nothing was changed") from None
        self.book, self.trial = book, on_trial
        self.problem = ""


def _set_sentence(control: Control, supersedes: tuple[str, ...]) -> str:
    what = f"{control.id}: {control.kind.value}, {'default' if control.is_default else 'scheduled'}, by {control.by}"
    if supersedes == (control.id,):
        return f"{what}; superseded by one of higher priority"
    return what + (f"; supersedes {', '.join(supersedes)}" if supersedes else "")


def change_sentence(change: Change) -> str:
    """'night, set by csms: superseded by peak'."""
    return f"{change.id}, set by {change.by}: {change.what}" + (f" by {change.other}" if change.other else "")
