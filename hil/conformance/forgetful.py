"""The enter-service timer of a wrong charger (wrong.py), in a module of its own: compiled with its base class."""

from __future__ import annotations

from firmware.protection.enter_service import EnterServiceTimer


class ForgetfulTimer(EnterServiceTimer):
    """An excursion out of the window does not begin the time anew."""

    __slots__ = ()

    def sample(self, t: float, inside: bool) -> None:
        if inside or self._t_good is None:
            super().sample(t, inside)

    def restart(self) -> None:
        """Not while it runs."""
        if self.ready or self._t_good is None:
            super().restart()
