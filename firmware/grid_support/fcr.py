"""Frequency containment reserves: what a sold reserve adds to the power, over the frequency.

A market product, not a duty: it changes what the charger is *asked* for; every limit stands above it. Shares are of
the bid, + = towards charging (down-regulation), so that a low frequency makes the charger give.

| product | curve | time | source, confidence |
|---|---|---|---|
| FCR-N | linear, 49.9..50.1 Hz | 63 % in 60 s | Fingrid, high; time: as remembered of the 2023 rules, low |
| FCR-D up, down | 49.9..49.5 Hz, 50.1..50.5 Hz | 86 % in 7.5 s | Fingrid, high; time: one repository, medium |
| FCR Continental Europe | linear, +-0.2 Hz | all in 30 s | (EU) 2017/1485, Annex V, high |
| Dynamic Containment GB | from 0.015 Hz, 5 % at 0.2 Hz, all at 0.5 Hz | all in 1 s | 5 %: Modo, medium; others low |
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware.grid_support.curve import Curve
from firmware.grid_support.response import Response

FULL = 0.99  # a lag never gets all the way; where a product wants "all" of it, 99 % by then (policy value)


@dataclass(frozen=True, slots=True)
class Product:
    """curve: f Hz -> share of the bid, -1..1, + = towards charging. After reach_s the share of a step is made."""

    name: str
    curve: Curve
    reach_s: float
    share: float


FCR_N = Product("FCR-N", Curve(((49.9, -1.0), (50.1, 1.0))), 60.0, 0.63)
FCR_D_UP = Product("FCR-D up", Curve(((49.5, -1.0), (49.9, 0.0))), 7.5, 0.86)
FCR_D_DOWN = Product("FCR-D down", Curve(((50.1, 0.0), (50.5, 1.0))), 7.5, 0.86)
FCR_CE = Product("FCR CE", Curve(((49.8, -1.0), (50.2, 1.0))), 30.0, FULL)
_DC_HALF = ((0.015, 0.0), (0.2, 0.05), (0.5, 1.0))
DYNAMIC_CONTAINMENT = Product(
    "Dynamic Containment",
    Curve([(50.0 - df, -y) for df, y in reversed(_DC_HALF)] + [(50.0 + df, y) for df, y in _DC_HALF]),
    1.0,
    FULL,
)
PRODUCTS = (FCR_N, FCR_D_UP, FCR_D_DOWN, FCR_CE, DYNAMIC_CONTAINMENT)


class Reserve:
    """One sold reserve."""

    def __init__(self, product: Product, bid_w: float) -> None:
        """ValueError for a bid that is not positive (W)."""
        if not 0.0 < bid_w < float("inf"):
            raise ValueError(f"the bid is {bid_w} W; it must be above 0")
        self.product, self.bid_w = product, bid_w
        self._response = Response(product.reach_s, product.share, start=0.0)
        self._target = 0.0

    def step(self, t: float, f_hz: float) -> float:
        """W to add to the baseline at `t` (s). f_hz: nan = not measured, then the last one goes on."""
        if f_hz == f_hz:
            self._target = self.product.curve.at(f_hz)
        return self._response.step(t, self._target) * self.bid_w
