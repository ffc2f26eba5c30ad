"""What the converter can do at once: P inside its ratings, Q inside its ratings, both inside a circle.

IEEE 1547-2018, clause 5.2, for the reactive capability; which of the two gives way is the priority.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Priority(enum.Enum):
    """What stays when P and Q together exceed the apparent power."""

    ACTIVE = "active"
    REACTIVE = "reactive"  # IEEE 1547-2018, clause 5.3.1: active power gives way to the reactive function


@dataclass(frozen=True, slots=True)
class Capability:
    """Ratings at the grid terminals, all positive: W, W, VA, and share of s_va for the two kinds of Q."""

    charge_w: float
    discharge_w: float
    s_va: float
    q_absorb_pu: float = 1.0
    q_inject_pu: float = 1.0

    def __post_init__(self) -> None:
        for what, value, unit in (
            ("charging", self.charge_w, "W"),
            ("discharging", self.discharge_w, "W"),
            ("apparent power", self.s_va, "VA"),
        ):
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"the rating of {what} is {value} {unit}; it must be 0 or more")
        if not (0.0 <= self.q_absorb_pu <= 1.0 and 0.0 <= self.q_inject_pu <= 1.0):
            raise ValueError(f"the reactive capability is {self.q_inject_pu}, {self.q_absorb_pu} pu; allowed: 0..1 pu")

    def reactive(self, q_var: float) -> float:
        """q_var (+ = absorbing) inside of what the converter can do without active power."""
        return max(-self.q_inject_pu * self.s_va, min(self.q_absorb_pu * self.s_va, q_var))

    def other(self, one: float) -> float:
        """How much of the other kind of power (W or var, positive) is left inside the circle beside `one`."""
        return math.sqrt(max(0.0, self.s_va * self.s_va - one * one))
