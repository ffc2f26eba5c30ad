"""What the back end's bridge knows of the charger, and what it may ask of it: the ports that services fill."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Protocol


class Phase(enum.Enum):
    """What happens at the outlet. The charger's one EVSE has one connector."""

    FREE = "free"  # no car
    PLUGGED = "plugged"  # a car, and no session yet
    STARTING = "starting"  # cable check, pre-charge
    CHARGING = "charging"
    DISCHARGING = "discharging"
    HOLDING = "holding"  # contactors closed, no power: nobody wants any, or protection or a limit forbids it
    ENDED = "ended"  # the session is over, the car is still there
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Car:
    """What the car said of itself (ISO 15118); None: it did not say. Powers and currents are magnitudes.

    bidirectional: the service with discharging was agreed (None: the protocol does not say). control: who plans the
    power, "scheduled" or "dynamic". departure_s: from now on. Energies are those that it asks for: a negative minimum
    is how far it may be discharged.

    profile: what it means to take, (s from its beginning, W, + = charging), from the monotonic time profile_t on and
    profile_s long (None: it does not say); anchor_s: that moment by its own clock (s since the epoch). schedule_id:
    which schedule it chose; tolerance: whether it keeps to it within the charger's tolerance. discharge_offered:
    whether the service with discharging was offered to it.
    """

    protocol: str = ""
    bidirectional: bool | None = None
    control: str = ""
    charge_max_w: float | None = None
    charge_max_a: float | None = None
    discharge_max_w: float | None = None
    discharge_max_a: float | None = None
    max_v: float | None = None
    min_v: float | None = None
    soc_pct: float | None = None
    target_soc_pct: float | None = None
    capacity_wh: float | None = None
    departure_s: float | None = None
    target_wh: float | None = None
    max_energy_wh: float | None = None
    min_energy_wh: float | None = None
    max_v2x_wh: float | None = None
    min_v2x_wh: float | None = None
    profile: tuple[tuple[float, float], ...] = ()
    profile_t: float = 0.0
    profile_s: float | None = None
    anchor_s: float | None = None
    schedule_id: int | None = None
    tolerance: bool | None = None
    discharge_offered: bool | None = None


@dataclass(frozen=True, slots=True)
class External:
    """What a local system (energy manager, operator) asks for: a set-point and limits (W, magnitudes); None: nothing.

    This is the external system of the modes ExternalSetpoint and ExternalLimits.
    """

    setpoint_w: float | None = None
    charge_w: float | None = None
    discharge_w: float | None = None
    source: str = ""


NOBODY = External()


@dataclass(frozen=True, slots=True)
class Tripped:
    """Protection has separated the charger from the grid. t: monotonic time of the trip; unit: of value and threshold;
    over: the charger waits for the grid no longer; direction: "rising" or "falling" of a rate of change, else empty."""

    element: str
    t: float
    value: float
    threshold: float
    unit: str
    text: str
    over: bool
    direction: str = ""


@dataclass(frozen=True, slots=True)
class Ceased:
    """Power is withheld while the voltage is outside of where the grid code permits any; the contactors stay closed."""

    under: bool  # the voltage is too low; else too high
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """One look at the charger. + = charging, - = discharging; None: not known now.

    t: monotonic time (s); wall_s: the same moment, s since the epoch. plugged: None while nothing is known of the
    cable. charged_wh, discharged_wh: the charger's registers, DC side; each only rises.
    """

    t: float
    wall_s: float
    plugged: bool | None
    phase: Phase
    charged_wh: float
    discharged_wh: float
    power_w: float | None = None
    current_a: float | None = None
    voltage_v: float | None = None
    frequency_hz: float | None = None
    soc_pct: float | None = None
    faults: tuple[str, ...] = ()
    site_w: float | None = None  # at the site's grid meter, + = import; None without such a meter
    ac_w: float | None = None  # the charger's own AC power
    car: Car | None = None
    external: External = NOBODY
    trip: Tripped | None = None  # the last one
    ceased: Ceased | None = None
    controls: tuple[tuple[str, bool], ...] = ()  # the back end's controls over the grid code: (id, is active)
    stopped: bool = False  # by a person: only a person may start it again


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the back end's rules come to; services turn it into a request with a lease. All None: nothing.

    t: monotonic time of the decision: it counts for WANTED_S from then, its limits for BOUNDS_S. power_w: None where
    the rules leave it to somebody else. charge_w, discharge_w: what whoever asks must keep to (magnitudes, None:
    free). rule: another rule is another request, the newest; numbers of the same one change nothing about whose word
    counts. sleep: the power electronics are to be off while this counts and no power is wanted.
    """

    t: float
    rule: str
    power_w: float | None
    charge_w: float | None
    discharge_w: float | None
    reason: str
    bound_reason: str
    sleep: bool = False


@dataclass(frozen=True, slots=True)
class CarWish:
    """What the car is to be told beside limits. plan: from each wall time on at most (W charging, W discharging) by the
    profiles, empty where none says anything. charge_only: no service with discharging. replan: rises each time that the
    back end wants the car to plan anew. wait_s: so long a car that asks for its schedule is to be kept waiting at most,
    for the back end has not yet said what it thinks of its needs; 0: not at all."""

    plan: tuple[tuple[float, float, float], ...] = ()
    charge_only: bool = False
    replan: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What the back end's bridge orders beside power. hold: why no session may run (empty: it may). reset: shut down in
    order and start anew. car: what the car is to be told."""

    hold: str
    reset: bool
    car: CarWish = CarWish()


WANTED_S = 3.0  # policy value: a bridge that is stuck for so long has no say any more; guard's own lease is below it
# Policy value: its limits hold longer. One that ended by a fault begins anew after 10 s (bridge.py: AGAIN_S), and what
# the back end forbade must not be free until then.
BOUNDS_S = 20.0


@dataclass(frozen=True, slots=True)
class Ability:
    """What this charger can do, as the board has it. charge_w, discharge_w: ratings (magnitudes). min_v: the lowest
    voltage at the outlet, which turns A into W while the present one is not known. negative_limits: a negative limit
    means discharging (what 1.6 and 2.0.1 have for it). site_meter: the AC meter measures the site's connection; then
    LocalLoadBalancing keeps it between balance_lower_w and balance_upper_w (+ = import). nominal_f_hz, entry_ramp: of
    the grid code."""

    charge_w: float = 22_000.0
    discharge_w: float = 22_000.0
    min_v: float = 150.0
    negative_limits: bool = False
    site_meter: bool = False
    balance_upper_w: float = 0.0
    balance_lower_w: float = 0.0
    nominal_f_hz: float = 50.0
    protocols: tuple[str, ...] = ()  # keys of telling.PROTOCOLS that our own SECC speaks; empty: it has none
    entry_ramp: str = "ramp_pu_per_min"  # which ramp the grid code's entry into service has; empty: none

    @property
    def rated_w(self) -> float:
        """Rated power, and the base of everything in per unit or percent (W, VA, var)."""
        return max(self.charge_w, self.discharge_w)


DESK = Ability()


class PortRefused(Exception):
    """A control cannot be set or cleared. The text is one sentence."""


class GridPort(Protocol):
    """Services' book of controls. Both methods are done, durable, when they return; they raise PortRefused."""

    def set(self, table: dict[str, Any], replace: bool) -> tuple[str, ...]:
        """Take a control, in the place of the one of its id if `replace`; returns the ids that it supersedes, or its
        own when it is superseded."""

    def clear(self, control_id: str) -> None: ...
