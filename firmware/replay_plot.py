"""The picture of a replay: voltage, frequency, power inside of what is permitted, and the state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from firmware.grid_codes import GridCode, Quantity
from firmware.protection.types import GridSample, GridState
from firmware.replay import Replay, state_name

STATES = [state_name(s) for s in GridState]
PHASES = (("L1", "tab:brown"), ("L2", "black"), ("L3", "grey"))


def draw(samples: Sequence[GridSample], result: Replay, code: GridCode, path: Path) -> None:
    """Write the picture; its format follows the suffix (.png, .svg). OSError when it cannot be written."""
    figure, axes = plt.subplots(
        4, 1, figsize=(11, 9), sharex=True, height_ratios=(3, 3, 3, 1.5), constrained_layout=True
    )
    t = [s.t for s in samples]
    for k, (name, colour) in enumerate(PHASES):
        axes[0].step(t, [s.v_pu[k] for s in samples], where="post", color=colour, lw=0.9, label=name)
    axes[0].set_ylabel("voltage, pu")
    axes[0].legend(loc="lower left", fontsize=7, ncol=3)
    axes[1].step(t, [s.f_hz for s in samples], where="post", color="tab:blue", lw=0.9)
    axes[1].set_ylabel("frequency, Hz")
    for trip in code.trips:
        if trip.quantity in (Quantity.VOLTAGE, Quantity.FREQUENCY):
            panel = axes[0] if trip.quantity is Quantity.VOLTAGE else axes[1]
            panel.axhline(trip.threshold.value, color="tab:red", lw=0.6, ls="--")
            panel.text(0.005, trip.threshold.value, trip.id, color="tab:red", fontsize=7, va="bottom",
                       transform=panel.get_yaxis_transform())  # fmt: skip
    at = [p.t_s for p in result.series]
    lo, hi = ([x / 1000.0 for x in column] for column in zip(*[p[4:6] for p in result.series], strict=True))
    axes[2].fill_between(at, lo, hi, step="post", color="tab:green", alpha=0.15, label="permitted P")
    axes[2].step(at, [p.p_w / 1000.0 for p in result.series], where="post", color="tab:green", label="P, + charges")
    axes[2].step(at, [p.q_var / 1000.0 for p in result.series], where="post", color="tab:purple", lw=0.9,
                 label="Q, + absorbs")  # fmt: skip
    axes[2].set_ylabel("kW, kvar")
    axes[2].legend(loc="lower left", fontsize=7, ncol=3)
    axes[3].step(at, [STATES.index(p.state) for p in result.series], where="post", color="black")
    axes[3].set_yticks(range(len(STATES)), STATES)
    axes[3].set_ylim(-0.5, len(STATES) - 0.5)
    axes[3].set_xlabel("t, s")
    if result.first_trip is not None:
        for panel in axes:
            panel.axvline(result.first_trip.t, color="tab:red", lw=0.8)
    what = "No trip." if result.first_trip is None else f"First trip: {result.first_trip.element}."
    figure.suptitle(f"{code.title}. {what}" + (f"\n{code.caution}" if code.caution else ""), fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)
