"""The demo's picture: voltage, frequency, power and state over the morning, and the collapse under the lens."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import dates
from matplotlib import pyplot as plt

from firmware.protection.types import GridState

if TYPE_CHECKING:
    from hil.demo.blackout import Story

STATES = [s.value for s in GridState]
ZOOM_S = (-4.0, 3.0)  # s around the trip


def draw(series: list[tuple[float, ...]], story: Story, path: Path) -> None:
    """Write the PNG. `series` rows: t, v1, v2, v3, f, p_ac, i_dc, grid state, k_grid, k_dc."""
    from hil.demo.blackout import START

    columns = list(zip(*series, strict=True))
    t = columns[0]
    wall = [START + timedelta(seconds=x) for x in t]
    trip_s = story.trip.get("t_s")
    figure, axes = plt.subplots(4, 2, figsize=(14, 9), sharex="col", width_ratios=(3, 2), constrained_layout=True)
    for column, (x, zoom) in enumerate(((wall, False), ([s - (trip_s or 0.0) for s in t], True))):
        keep = [i for i, s in enumerate(t) if not zoom or (trip_s and ZOOM_S[0] <= s - trip_s <= ZOOM_S[1])]
        xs = [x[i] for i in keep]
        _panel(axes[:, column], xs, [[c[i] for i in keep] for c in columns])
        _marks(axes[:, column], story, zoom)
    axes[0, 0].set_title("Toledo, 28 April 2025 (LEMUR, Universidad de Oviedo), scaled to 230 V")
    axes[0, 1].set_title("around the trip")
    axes[3, 0].xaxis.set_major_formatter(dates.DateFormatter("%H:%M", tz=START.tzinfo))
    axes[3, 0].set_xlabel("local time of the recording")
    axes[3, 1].set_xlabel("seconds since the trip")
    what = story.trip.get("text", "No trip.")
    figure.suptitle(f"Discharging 10 kW under VDE-AR-N 4105. {what}", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axes: Any, x: list[Any], c: list[list[float]]) -> None:
    for k, (name, colour) in enumerate((("L1", "tab:brown"), ("L2", "black"), ("L3", "grey"))):
        axes[0].plot(x, [v / 230.0 for v in c[1 + k]], color=colour, lw=0.9, label=name)
    for pu, name in ((1.25, "OV2"), (1.10, "OV1 (10 min)"), (0.80, "UV1"), (0.45, "UV2")):
        axes[0].axhline(pu, color="tab:red", lw=0.6, ls="--")
        axes[0].text(0.005, pu, name, color="tab:red", fontsize=7, va="bottom", transform=axes[0].get_yaxis_transform())
    axes[0].set_ylabel("voltage, pu")
    axes[0].legend(loc="lower left", fontsize=7, ncol=3)
    axes[1].plot(x, c[4], color="tab:blue", lw=0.9)
    for hz, name in ((51.5, "OF1"), (47.5, "UF1")):
        axes[1].axhline(hz, color="tab:red", lw=0.6, ls="--")
        axes[1].text(0.005, hz, name, color="tab:red", fontsize=7, va="bottom", transform=axes[1].get_yaxis_transform())
    axes[1].set_ylim(45.5, 52)
    axes[1].set_ylabel("frequency, Hz")
    axes[2].plot(x, [p / 1000.0 for p in c[5]], color="tab:green", lw=0.9)
    axes[2].axhline(0, color="black", lw=0.4)
    axes[2].set_ylabel("AC power, kW\n(- = into the grid)")
    axes[3].step(x, c[7], where="post", color="tab:purple", lw=1.2)
    axes[3].set_yticks(range(len(STATES)), STATES, fontsize=7)
    axes[3].set_ylim(-0.4, len(STATES) - 0.6)
    axes[3].fill_between(
        x, -0.4, len(STATES) - 0.6, where=[k > 0 for k in c[8]], color="tab:green", alpha=0.12, step="post"
    )
    axes[3].text(0.99, 0.04, "shaded: grid contactor closed", fontsize=7, ha="right", transform=axes[3].transAxes)
    for axis in axes:
        axis.grid(alpha=0.25)


def _marks(axes: Any, story: Story, zoom: bool) -> None:
    """Vertical lines at trip, cease and open contactors; only the trip where they cannot be told apart."""
    from hil.demo.blackout import START

    if not story.trip:
        return
    trip_s = story.trip["t_s"]
    marks = [("trip " + story.trip["element"], trip_s, "tab:red")]
    if zoom:
        marks += [("ceased", story.cease.get("t_s"), "tab:orange"), ("open", story.contactors_open.get("t_s"), "black")]
    for row, (name, at_s, colour) in enumerate(marks):
        if at_s is None:
            continue
        x = at_s - trip_s if zoom else START + timedelta(seconds=at_s)
        for axis in axes:
            axis.axvline(x, color=colour, lw=0.9)
        top = axes[2] if zoom else axes[1]
        top.annotate(
            f" {name} {1000 * (at_s - trip_s):+.0f} ms" if zoom else f" {name}", (x, 0.95 - 0.12 * row),
            xycoords=top.get_xaxis_transform(), fontsize=7, color=colour, va="top",
        )  # fmt: skip
