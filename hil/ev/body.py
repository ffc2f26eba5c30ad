"""What the car's charge controller sees of its own car: battery, inlet, contactors, pilot resistor.

Physics is the plant's when there is one; a car alone (a session against a charger that is only a script) has a
battery that neither empties nor fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hil.plant.link import PlantLink

V_MAX_V, V_MIN_V = 450.0, 300.0  # a 400 V battery, the same as hil.devices.car's


@dataclass
class Wishes:
    """What the driver and the battery management permit. Amperes and watts are magnitudes, except target_a."""

    charge_max_a: float = 125.0
    discharge_max_a: float = 60.0
    power_max_w: float = 50_000.0
    target_a: float = 20.0  # control mode Scheduled, ISO 15118-2 and DIN: what the car commands; - discharges
    soc_target: float = 0.8
    soc_min: float = 0.3
    departure_s: int = 7200
    stop: bool = False
    pause: bool = False  # with `stop`: the session is to be resumed; DIN 70121 knows no pause


class Body(Protocol):
    """One car. `soc` 0..1, `capacity_wh` Wh, voltages V."""

    capacity_wh: float

    @property
    def soc(self) -> float: ...

    @property
    def battery_v(self) -> float: ...

    def state_c(self, on: bool) -> None: ...

    def contactors(self, closed: bool) -> None: ...


class LoneBody:
    """A car without a plant."""

    capacity_wh = 60_000.0

    def __init__(self, soc: float, battery_v: float = 400.0) -> None:
        self.soc, self.battery_v = soc, battery_v
        self.in_c = self.closed = False

    def state_c(self, on: bool) -> None:
        self.in_c = on

    def contactors(self, closed: bool) -> None:
        self.closed = closed


class PlantBody:
    """A car in the rig's plant."""

    capacity_wh = 60_000.0

    def __init__(self, link: PlantLink) -> None:
        self._link = link

    @property
    def soc(self) -> float:
        return min(1.0, max(0.0, self._link.soc))

    @property
    def battery_v(self) -> float:
        return max(0.0, self._link.batt_v_v)

    def state_c(self, on: bool) -> None:
        self._link.ev_cp_state = (3.0 if on else 2.0) if self._link.ev_plugged else 1.0

    def contactors(self, closed: bool) -> None:
        self._link.ev_contactor = float(closed)
