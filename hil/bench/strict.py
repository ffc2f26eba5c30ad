"""Strict reading of TOML tables: every key is taken by somebody who says what it may be, and what nobody took is an
error. One sentence a mistake: where, which key, what is allowed."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_NONE: Any = object()


class TableError(ValueError):
    """A table that cannot be used. The text is a sentence."""


def read_toml(path: Path) -> dict[str, Any]:
    """Raises TableError when the file cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: this is no TOML: {error}") from None


class Table:
    """One table of a file. `take_*` fetch a key; `done` refuses what is left."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise TableError(f"{where} must be a table, not {data!r}")
        self.where = where
        self._data = dict(data)
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def _take(self, key: str, default: Any) -> Any:
        self._known.append(key)
        if key in self._data:
            return self._data.pop(key)
        if default is _NONE:
            raise TableError(f"{self.where}: the key {key!r} is missing")
        return default

    def refuse(self, key: str, value: Any, allowed: str) -> TableError:
        return TableError(f"{self.where}: {key} = {value!r} must be {allowed}")

    def number(self, key: str, low: float, high: float, default: Any = _NONE, unit: str = "") -> Any:
        """A finite number from low to high as float; `default` (also None) where the key is missing."""
        value = self._take(key, default)
        if value is default:
            return value
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high:
            raise self.refuse(key, value, f"a number from {low:g} to {high:g} {unit}".strip())
        return float(value)

    def whole(self, key: str, low: int, high: int, default: Any = _NONE) -> Any:
        value = self._take(key, default)
        if value is default:
            return value
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(key, value, f"a whole number from {low} to {high}")
        return value

    def text(self, key: str, default: Any = _NONE, choices: Sequence[str] = ()) -> Any:
        value = self._take(key, default)
        if value is default:
            return value
        if not isinstance(value, str) or not value.strip() or (choices and value not in choices):
            raise self.refuse(key, value, f"one of {', '.join(choices)}" if choices else "a text")
        return value

    def flag(self, key: str, default: Any = _NONE) -> Any:
        value = self._take(key, default)
        if value is not default and not isinstance(value, bool):
            raise self.refuse(key, value, "true or false")
        return value

    def texts(self, key: str, default: Any = _NONE) -> Any:
        value = self._take(key, default)
        if value is default:
            return value
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.refuse(key, value, "a list of texts")
        return tuple(value)

    def numbers(self, key: str, count: int, default: Any = _NONE) -> Any:
        value = self._take(key, default)
        if value is default:
            return value
        good = isinstance(value, list) and len(value) == count
        if not good or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value):
            raise self.refuse(key, value, f"a list of {count} numbers")
        return tuple(float(x) for x in value)

    def anything(self, key: str, default: Any = _NONE) -> Any:
        return self._take(key, default)

    def table(self, key: str, *, optional: bool = False) -> Table:
        value = self._take(key, {} if optional else _NONE)
        return Table(f"{self.where} [{key}]", value)

    def tables(self, key: str) -> list[Table]:
        """A list of tables ([[key]]); none is an empty list."""
        value = self._take(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, value, f"a list of tables ([[{key}]])")
        return [Table(f"{self.where} [[{key}]] {n}", item) for n, item in enumerate(value, 1)]

    def named(self, key: str) -> dict[str, Table]:
        """Tables under names ([key.NAME])."""
        value = self._take(key, {})
        if not isinstance(value, Mapping):
            raise self.refuse(key, value, f"tables with names ([{key}.NAME])")
        return {name: Table(f"{self.where} [{key}.{name}]", item) for name, item in value.items()}

    def rest(self) -> dict[str, Any]:
        """All keys that nobody took; they are taken now."""
        data, self._data = self._data, {}
        return data

    def done(self, value: T) -> T:
        """Refuse unknown keys; returns `value`, so that a loader can end with it."""
        if self._data:
            key = next(iter(self._data))
            raise TableError(
                f"{self.where}: there is no key {key!r}; there are {', '.join(dict.fromkeys(self._known))}"
            )
        return value
