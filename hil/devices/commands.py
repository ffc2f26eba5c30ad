"""The rig's commands to an emulated device: one table of names and rules; all of a command is checked before any takes
effect, and a refusal is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Rule(NamedTuple):
    allowed: Callable[[Any], bool]
    sentence: str  # "must be ..."
    convert: Callable[[Any], Any]


def is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def number(low: float, high: float, unit: str) -> Rule:
    return Rule(lambda value: is_number(value, low, high), f"{low:g} to {high:g} {unit}", float)


def whole(low: int, high: int) -> Rule:
    return Rule(lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}", int)


FLAG = Rule(lambda value: isinstance(value, bool), "true or false", bool)
ACTION = Rule(lambda value: value is True, "true", bool)


def checked(device: str, rules: Mapping[str, Rule], command: Mapping[str, Any]) -> dict[str, Any]:
    """The command with converted values. Raises ValueError: which device, which value, what is allowed."""
    values = {}
    for name, value in command.items():
        if name not in rules:
            raise ValueError(f"the {device} knows no command {name!r}; it knows {', '.join(rules)}")
        try:
            allowed = rules[name].allowed(value)
        except TypeError:  # an unhashable item in a list
            allowed = False
        if not allowed:
            raise ValueError(f"{device}: {name} is {value!r}, must be {rules[name].sentence}")
        values[name] = rules[name].convert(value)
    return values
