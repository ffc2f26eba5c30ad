"""What the back end's bridge knows of the charger: the port that services fill."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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
