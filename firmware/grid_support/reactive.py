"""What all functions of reactive power have in common: a name, a clause, a time, and one question."""

from __future__ import annotations

import math
from typing import Protocol


class Reactive(Protocol):
    """A function of reactive power. Exactly one is active at a time (IEEE 1547-2018, clause 5.3.1)."""

    @property
    def name(self) -> str: ...

    @property
    def clause(self) -> str: ...

    @property
    def response_s(self) -> float: ...

    @property
    def share(self) -> float:
        """How much of a change must have been made after response_s."""

    def target_pu(self, t: float, v_pu: float, p_pu: float) -> float:
        """Q in pu of rated apparent power, + = absorbing. v_pu: mean of the phases; p_pu: + = charging."""


def tan_phi(pf: float) -> float:
    """|Q| / |P| at a power factor of 0..1, 0 excluded."""
    return math.sqrt(1.0 - pf * pf) / pf
