"""The state object that the SECC mirrors: the charger's truth and the car's wishes. Decides nothing.

What services said is believed for CHARGER_MAX_AGE_S; after that the defaults of `ChargerState` hold: nothing is
available and the car is asked to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from firmware.bridges.secc import car as cars
from firmware.bridges.secc.messages import CarState, ChargerState, FromSecc, SessionEnded

CHARGER_MAX_AGE_S = 0.5  # services send ten times a second; the same number as guard's for a silent vehicle side
_POLL_S = 0.02


class Mirror:
    """One charger and at most one car. `send` passes a message on to services."""

    def __init__(self, clock: Callable[[], float], send: Callable[[FromSecc], None]) -> None:
        self._clock = clock
        self._send = send
        self._charger = ChargerState()
        self._charger_t = float("-inf")
        self._nobody = True
        now = clock()
        self.car = CarState(t=now, sent_t=now)

    # ------------------------------------------------------------------------------------------------- the charger
    @property
    def charger(self) -> ChargerState:
        """What is true now."""
        fresh = self._clock() - self._charger_t <= CHARGER_MAX_AGE_S
        return self._charger if fresh else ChargerState(plugged=self._charger.plugged, state_c=self._charger.state_c)

    def take(self, state: ChargerState) -> None:
        self._charger, self._charger_t = state, self._clock()
        if self._nobody and self.car.phase == "pause" and not state.plugged:
            self.car = msgspec.structs.replace(self.car, phase="none")  # nobody will resume it

    async def opened(self, timeout_s: float) -> bool:
        """Waits until the charger's contactors are open; False when they are not in time, or nobody knows."""
        until = self._clock() + timeout_s
        while True:
            fresh = self._clock() - self._charger_t <= CHARGER_MAX_AGE_S
            if fresh and self._charger.contactors == "open":
                return True
            if self._clock() >= until:
                return False
            await asyncio.sleep(_POLL_S)

    # ----------------------------------------------------------------------------------------------------- the car
    def request(self, namespace: str, message: Mapping[str, Any]) -> None:
        """A message of the car, as it was decoded."""
        self._nobody = False
        self.car = cars.read(self.car, namespace, message, self._clock())
        self._send(self.car)

    def told(self, plan_no: int) -> None:
        """The car that negotiates is told this plan of the charger."""
        self.car = msgspec.structs.replace(self.car, told_plan=plan_no)

    def offered(self, discharge: bool) -> None:
        """The car may choose among services, discharging one of them or not."""
        self.car = msgspec.structs.replace(self.car, discharge_offered=discharge)

    def stopping(self) -> None:
        """The package ends the session or power delivery, for whatever reason: power must go at once."""
        if self.car.phase not in ("none", "ending", "welding", "pause"):
            self.car = msgspec.structs.replace(self.car, phase="ending", replans=False)
            self._say_again()

    def ended(self, state: str, reason: str) -> None:
        now = self._clock()
        self._nobody = True
        self.car = CarState(t=now, sent_t=now, phase="pause" if self.car.phase == "pause" else "none")
        self._send(SessionEnded(state, reason))
        self._send(self.car)

    def heartbeat(self) -> None:
        """Ten times a second: that the SECC is alive. Says nothing about the car's own liveliness."""
        self._say_again()

    def _say_again(self) -> None:
        now = self._clock()
        self.car = msgspec.structs.replace(self.car, sent_t=now, t=now if self._nobody else self.car.t)
        self._send(self.car)
