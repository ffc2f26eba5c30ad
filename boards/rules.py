"""What a key of a board file may be: its bounds, its unit and its meaning, kept with the field itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class BoardError(Exception):
    """A board file cannot be used. The text is one sentence: which file, which key, what is allowed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may be. `low`/`high` are inclusive; `above` is exclusive; `choices` lists the only values."""

    text: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str | int, ...] = ()
    pattern: str = ""
    shape: str = ""  # what `pattern` means, in words

    def allowed(self) -> str:
        """The allowed range in words."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        unit = f" {self.unit}" if self.unit else ""
        if self.above is not None:
            upper = "" if self.high is None else f", at most {self.high:g}"
            return f"above {self.above:g}{upper}{unit}"
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}{unit}"
        if self.low is not None:
            return f"at least {self.low:g}{unit}"
        return self.shape


def key(text: str, default: Any = dataclasses.MISSING, **bounds: Any) -> Any:
    """A key of a section; without a default it is obligatory."""
    return field(default=default, metadata={"rule": Rule(text, **bounds)})


# Shapes that several sections share.
NAME = {"pattern": r"[a-z][a-z0-9_]{0,63}", "shape": "lower-case letters, digits and _, starting with a letter"}
TEXT = {"pattern": r"[^\x00-\x1f]{1,200}", "shape": "1 to 200 printable characters"}
FILE = {"default": None, "pattern": r"[^\x00-\x1f]{1,200}", "shape": "the path of a file"}
