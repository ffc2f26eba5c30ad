"""The charger's own energy registers: what went into the car and what came out of it, in watt-hours.

Two registers, each of which only ever rises: `charged_wh` and `discharged_wh`. They are never netted against one
another, because a kilowatt-hour bought and a kilowatt-hour sold have different prices, taxes and owners.

Guard publishes two counters that start at zero with every guard process and names the process by `boot`. The ledger
turns them into registers that outlive guard, services and the machine: a register is the sum of the last counters of
all guard processes before this one (the base) plus this one's counter. That form needs no running addition, so a
thousand hours at ten reports a second leave no rounding behind.

Pure: the time is given, nothing is stored here. `LedgerState` is what has to be stored (firmware/recorder/store.py),
all of it in one commit, so that registers and the counters they stand for never part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

# A report is believed when the mean power behind it is no more than this share of the highest power of the charger.
# Ours: above the ratio of a BEG1K075G's two published ratings (80 A x 1000 V against 22 kW never happens for long),
# and well below the wrong unit or the flipped bit that this is to catch.
PLAUSIBLE_RATIO = 1.5
# Reports that were waiting in a queue arrive in a burst: so many seconds of energy are believed without time passing.
BURST_S = 10.0
# Guard processes that ended are remembered, so that a late report of one is not taken for a new process.
ENDED_BOOTS = 16
# The very first report of a ledger has no elapsed time to be measured against. 1 GWh is 22 kW for five years: no guard
# process counts that far.
FIRST_MAX_WH = 1e9


class LedgerError(ValueError):
    """A session was started or ended at the wrong moment, or a stored state is no state. One sentence."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """All that a ledger knows and that must be stored together. Watt-hours; `t_wall` in seconds since the epoch."""

    boot: str = ""  # the guard process whose counters were seen last
    base_charged_wh: float = 0.0  # the registers when that process began
    base_discharged_wh: float = 0.0
    seen_charged_wh: float = 0.0  # its counters, as last believed
    seen_discharged_wh: float = 0.0
    t_wall: float | None = None  # when they were believed; None = never yet
    ended: tuple[str, ...] = ()  # guard processes before this one, oldest first
    sessions: int = 0  # sessions started since the registers were zero

    @property
    def charged_wh(self) -> float:
        """The register of energy that went into the car."""
        return self.base_charged_wh + self.seen_charged_wh

    @property
    def discharged_wh(self) -> float:
        """The register of energy that came out of the car."""
        return self.base_discharged_wh + self.seen_discharged_wh

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> LedgerState:
        """The state from what `as_dict` gave. Raises LedgerError on a missing, unknown or impossible value."""
        names = {field.name for field in fields(cls)}
        if set(stored) != names:
            raise LedgerError(f"ledger state: expected the fields {sorted(names)}, got {sorted(stored)}")
        for name in ("base_charged_wh", "base_discharged_wh", "seen_charged_wh", "seen_discharged_wh"):
            value = stored[name]
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0.0:
                raise LedgerError(f"ledger state: {name} is {value!r}; allowed: a finite number of Wh, 0 or more")
        return cls(**{**stored, "ended": tuple(stored["ended"])})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Session:
    """One charging session: the registers at both ends. Energies are differences of registers, never sums."""

    number: int
    t_start_wall: float
    start_charged_wh: float
    start_discharged_wh: float
    start_soc_pct: float | None = None
    t_end_wall: float | None = None  # None = it still runs
    end_charged_wh: float | None = None
    end_discharged_wh: float | None = None
    end_soc_pct: float | None = None
    reason: str = ""  # why it ended

    @property
    def open(self) -> bool:
        return self.t_end_wall is None

    @property
    def charged_wh(self) -> float | None:
        """Into the car during the session; None while it runs (ask the ledger's `session_energy_wh`)."""
        return None if self.end_charged_wh is None else self.end_charged_wh - self.start_charged_wh

    @property
    def discharged_wh(self) -> float | None:
        """Out of the car during the session; None while it runs."""
        return None if self.end_discharged_wh is None else self.end_discharged_wh - self.start_discharged_wh


@dataclass(frozen=True, slots=True)
class Applied:
    """What one report did. `refused` is empty, or one sentence why the report changed nothing.

    `first` is True on the first refusal after a believed report: log that one, not the ten a second that may follow.
    """

    charged_wh: float = 0.0  # added to the register
    discharged_wh: float = 0.0
    refused: str = ""
    first: bool = False


class Ledger:
    """Import and export registers from guard's counters.

    max_power_w: the highest power of the charger in either direction (magnitude), for the plausibility check.
    state, session: as stored, after a restart of services; an open session goes on.
    """

    def __init__(self, max_power_w: float, state: LedgerState | None = None, session: Session | None = None) -> None:
        if not (math.isfinite(max_power_w) and max_power_w > 0.0):
            raise LedgerError(f"ledger: max_power_w is {max_power_w!r}; allowed: above 0 W")
        if session is not None and not session.open:
            raise LedgerError(f"ledger: session {session.number} has ended and cannot go on")
        self._wh_per_s = PLAUSIBLE_RATIO * max_power_w / 3600.0
        self._budget_wh = self._wh_per_s * BURST_S
        self._state = state or LedgerState()
        self._session = session
        self._refusing = False
        self.refused = 0  # reports refused since this object was made

    @property
    def state(self) -> LedgerState:
        return self._state

    @property
    def session(self) -> Session | None:
        """The open session, or None."""
        return self._session

    @property
    def charged_wh(self) -> float:
        return self._state.charged_wh

    @property
    def discharged_wh(self) -> float:
        return self._state.discharged_wh

    def apply(self, boot: str, charged_wh: float, discharged_wh: float, t_wall: float) -> Applied:
        """Take guard's counters (Wh since `boot` began) as of `t_wall`, the wall time they were measured at.

        A report that cannot be true changes neither register and is answered with a sentence. Nothing is lost by
        that when the next report is sound, because counters are totals. The time between reports bounds the energy:
        at most PLAUSIBLE_RATIO x max power x elapsed, with BURST_S of allowance for reports that queued up.
        """
        state = self._state
        if not math.isfinite(t_wall):
            return self._refuse(f"energy report without a time (t_wall is {t_wall!r})")
        if state.t_wall is not None and t_wall < state.t_wall:
            # The wall clock was set back: elapsed time is unknown, so it counts from here on.
            self._state = state = replace(state, t_wall=t_wall)
        for name, value in (("charged", charged_wh), ("discharged", discharged_wh)):
            if not math.isfinite(value) or value < 0.0:
                return self._refuse(f"guard's counter of energy {name} is {value!r} Wh; allowed: finite, 0 or more")
        if not boot:
            return self._refuse("energy report without the identity of its guard process")
        if boot in state.ended:
            return self._refuse(f"energy report of guard process {boot}, which has ended")

        new_boot = boot != state.boot
        seen_charged, seen_discharged = (0.0, 0.0) if new_boot else (state.seen_charged_wh, state.seen_discharged_wh)
        added_charged = charged_wh - seen_charged
        added_discharged = discharged_wh - seen_discharged
        if added_charged < 0.0 or added_discharged < 0.0:
            return self._refuse(
                f"guard's counters went back: charged {seen_charged:.3f} -> {charged_wh:.3f} Wh, "
                f"discharged {seen_discharged:.3f} -> {discharged_wh:.3f} Wh"
            )
        added = added_charged + added_discharged
        budget = FIRST_MAX_WH
        if state.t_wall is not None:
            elapsed_s = t_wall - state.t_wall
            budget = self._wh_per_s * max(elapsed_s, BURST_S)
            budget = min(budget, self._budget_wh + self._wh_per_s * elapsed_s)
        if added > budget:
            return self._refuse(f"guard's counters jumped by {added:.1f} Wh; at most {budget:.1f} Wh is possible")
        self._budget_wh = min(budget - added, self._wh_per_s * BURST_S)
        self._refusing = False
        if new_boot:
            ended = (*state.ended, state.boot)[-ENDED_BOOTS:] if state.boot else state.ended
            state = replace(
                state,
                boot=boot,
                base_charged_wh=state.charged_wh,
                base_discharged_wh=state.discharged_wh,
                ended=ended,
            )
        self._state = replace(state, seen_charged_wh=charged_wh, seen_discharged_wh=discharged_wh, t_wall=t_wall)
        return Applied(added_charged, added_discharged)

    def start_session(self, t_wall: float, soc_pct: float | None = None) -> Session:
        """Open a session at the present registers. Raises LedgerError while one is open."""
        if self._session is not None:
            raise LedgerError(f"session {self._session.number} is still open; end it before the next one starts")
        number = self._state.sessions + 1
        self._state = replace(self._state, sessions=number)
        self._session = Session(number, t_wall, self.charged_wh, self.discharged_wh, soc_pct)
        return self._session

    def end_session(self, t_wall: float, reason: str, soc_pct: float | None = None) -> Session:
        """Close the session at the present registers and return it whole. Raises LedgerError without one.

        A session that a power cut left open is ended before the first report of the new guard process is applied:
        the registers are then those of the last commit, and no later energy is booked on it.
        """
        if self._session is None:
            raise LedgerError("no session is open")
        session = replace(
            self._session,
            t_end_wall=t_wall,
            end_charged_wh=self.charged_wh,
            end_discharged_wh=self.discharged_wh,
            end_soc_pct=soc_pct,
            reason=reason,
        )
        self._session = None
        return session

    def session_energy_wh(self) -> tuple[float, float]:
        """(charged, discharged) of the open session so far; zeros without one."""
        if self._session is None:
            return 0.0, 0.0
        return (
            self.charged_wh - self._session.start_charged_wh,
            self.discharged_wh - self._session.start_discharged_wh,
        )

    def _refuse(self, text: str) -> Applied:
        self.refused += 1
        first, self._refusing = not self._refusing, True
        return Applied(refused=text, first=first)
