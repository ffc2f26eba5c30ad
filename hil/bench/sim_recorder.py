"""The recorder of the simulated bench.

It samples what the source gave to the plant and what the plant did, as instruments at those places would, with an
accuracy that a good bench has: a limit nearer than that decides nothing here either.
"""

from __future__ import annotations

import math
from operator import itemgetter

from hil.bench.capture import Capture, Channel, Event
from hil.bench.roles import BenchError
from hil.bench.sim_faults import SimFaults
from hil.bench.sim_grid import PlayedSource
from hil.plant.link import INDEX
from hil.sim import Sim

_GRID = ("grid_va_pu", "grid_vb_pu", "grid_vc_pu", "grid_vmin_pu", "grid_vmax_pu")
_LINK = {  # channel: (field of the plant's link, unit, accuracy)
    "pcc_va_v": ("pcc_va_v", "V", 0.5),
    "pcc_vb_v": ("pcc_vb_v", "V", 0.5),
    "pcc_vc_v": ("pcc_vc_v", "V", 0.5),
    "pcc_f_hz": ("pcc_f_hz", "Hz", 0.005),
    "ac_a": ("ac_ia_a", "A", 0.2),
    "ac_w": ("ac_p_w", "W", 50.0),
    "ac_var": ("ac_q_var", "var", 50.0),
    "dc_v": ("dc_v_v", "V", 0.5),
    "dc_a": ("dc_i_a", "A", 0.2),
    "cable_v": ("cable_v_v", "V", 0.5),
    "cable_a": ("cable_i_a", "A", 0.2),
    "batt_v": ("batt_v_v", "V", 0.5),
    "batt_a": ("batt_i_a", "A", 0.2),
    "soc": ("soc", "1", 0.001),
    "k_grid": ("k_grid", "", 0.0),
    "k_dc": ("k_dc", "", 0.0),
    "k_precharge": ("k_precharge", "", 0.0),
    "k_ev": ("k_ev", "", 0.0),
    "island": ("grid_switch_open", "", 0.0),
    "plugged": ("ev_plugged", "", 0.0),
    "enable": ("converter_enable", "", 0.0),
}
CHANNELS = {
    **{name: Channel(name, "pu", 0.002, "sim: source") for name in _GRID},
    "grid_f_hz": Channel("grid_f_hz", "Hz", 0.005, "sim: source"),
    "grid_turned_deg": Channel("grid_turned_deg", "deg", 0.1, "sim: source"),
    "grid_apart_deg": Channel(
        "grid_apart_deg", "deg", 0.1, "sim: source"
    ),  # of the phase that is turned most by itself
    "grid_thd_pu": Channel("grid_thd_pu", "pu", 0.001, "sim: source"),
    **{name: Channel(name, unit, accuracy, "sim: plant") for name, (_, unit, accuracy) in _LINK.items()},
    "dc_w": Channel("dc_w", "W", 100.0, "sim: plant"),  # into the car
    "faults": Channel("faults", "", 0.0, "sim: fault box"),
    "asked_w": Channel("asked_w", "W", 0.0, "sim: user"),  # what the user asks for; 0 without a lease
}
_NEIGHBOUR = {  # of a second charger, where there is one: as in _LINK
    "n_ac_a": ("ac_ia_a", "A", 0.2),
    "n_ac_w": ("ac_p_w", "W", 50.0),
    "n_ac_var": ("ac_q_var", "var", 50.0),
    "n_dc_a": ("dc_i_a", "A", 0.2),
    "n_k_grid": ("k_grid", "", 0.0),
    "n_k_dc": ("k_dc", "", 0.0),
}
NEIGHBOUR = {name: Channel(name, unit, accuracy, "sim: plant") for name, (_, unit, accuracy) in _NEIGHBOUR.items()}
_PICKED_N = itemgetter(*(INDEX[field] for field, _, _ in _NEIGHBOUR.values()))
# The row of a sample is made in this order (SimRecorder._row).
_PICKED = itemgetter(*(INDEX[field] for field, _, _ in _LINK.values()))
_CABLE_V, _CABLE_A = INDEX["cable_v_v"], INDEX["cable_i_a"]


class SimRecorder:
    """Samples while it runs; the simulation calls it when a sample is due."""

    def __init__(
        self, sim: Sim, source: PlayedSource, faults: SimFaults, nominal_v: float, neighbour: Sim | None = None
    ) -> None:
        self._neighbour = neighbour
        self._channels = CHANNELS if neighbour is None else CHANNELS | NEIGHBOUR
        self._sim, self._source, self._faults, self._nominal_v = sim, source, faults, nominal_v
        self._period_s: float | None = None  # None: it does not run
        self._t: list[float] = []
        self._rows: list[tuple[float, ...]] = []

    def channels(self) -> tuple[str, ...]:
        return tuple(self._channels)

    def start(self, rate_hz: float) -> None:
        if not 1.0 <= rate_hz <= 1000.0:
            raise BenchError(f"recorder: {rate_hz:g} samples a second are asked for; 1 to 1000 are possible")
        self._period_s = 1.0 / rate_hz
        self._t, self._rows = [], []
        self._sim.on_sample = self.take
        self.take(self._sim.now)

    def take(self, now: float) -> None:
        """A sample now, and the next one a period later. Nothing when it does not run or has just taken one."""
        if self._period_s is not None and not (self._t and now - self._t[-1] < 1e-9):
            self._t.append(now)
            self._rows.append(self._row())
            self._sim.sample_at_s = now + self._period_s

    def stop(self) -> Capture:
        if self._period_s is None:
            raise BenchError("recorder: it does not run")
        series = dict(zip(self._channels, map(list, zip(*self._rows, strict=True)), strict=True))
        events = unit_events(self._sim, self._t[0])
        capture = Capture(dict(self._channels), self._t, series, events, period_s=self._period_s)
        self._period_s, self._sim.sample_at_s = None, math.inf
        self._t, self._rows = [], []
        return capture

    def latest(self, channel: str) -> float:
        if channel not in self._channels:
            raise BenchError(f"recorder: there is no channel {channel!r}; there are {', '.join(self._channels)}")
        return dict(zip(self._channels, self._row(), strict=True))[channel]

    def _row(self) -> tuple[float, ...]:
        """A value of every channel, in their order."""
        sim, values = self._sim, self._sim.link.values
        volts, f_hz, turned_deg = self._source.given
        a, b, c = (v / self._nominal_v for v in volts)
        apart, harmonics = self._source.formed(sim.now)
        thd = math.sqrt(sum(share * share for _, share, _ in harmonics)) if harmonics else 0.0
        return (
            a, b, c, min(a, b, c), max(a, b, c), f_hz, turned_deg,
            max(apart, key=abs), thd, *_PICKED(values),
            values[_CABLE_V] * values[_CABLE_A], float(len(self._faults.inserted)),
            sim.wish.power_w if sim.wish.alive else 0.0,
            *(() if self._neighbour is None else _PICKED_N(self._neighbour.link.values)),
        )  # fmt: skip


def unit_events(sim: Sim, since_s: float) -> list[Event]:
    found = [Event(e.t, e.code, e.detail, e.cleared) for e in sim.services.events]
    return [event for event in found if event.t >= since_s]
