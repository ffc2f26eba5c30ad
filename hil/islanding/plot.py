"""`python -m hil.islanding.plot FILE.svg`: where one charger does not find its island (non-detection zone)."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np

from hil.islanding.experiment import RATED_W, Setup, run

matplotlib.use("svg")
import matplotlib.pyplot as plt

DP_PCT = (-30, -20, -10, -5, 0, 5, 10, 20, 30)
DC_PCT = (-20, -15, -10, -5, -2, 0, 2, 5, 10, 15, 20)
SHARES = (1.0, 0.8, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.2, 0.1)
AFTER_S = 3.0


def main(path: str) -> None:
    """Two panels: mismatch of P and C; and how much of the island's power the charger feeds."""
    setups = [Setup((-RATED_W,), 2.5, dp / 100, dc / 100, island_at_s=1.6) for dp in DP_PCT for dc in DC_PCT]
    shared = [
        Setup((-RATED_W * s,), qf, island_at_s=1.6, other_w=RATED_W * (1.0 - s)) for qf in (1.0, 2.5) for s in SHARES
    ]
    found, _row, _dead = run(setups + shared, 1.6 + AFTER_S, 1)
    times = np.nan_to_num(found[:, 0] - 1.6, nan=AFTER_S)
    plt.rcParams["svg.hashsalt"] = "ndz"
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    mesh = left.pcolormesh(
        range(len(DC_PCT) + 1), range(len(DP_PCT) + 1), times[: len(setups)].reshape(len(DP_PCT), -1),
        vmin=0.0, vmax=2.0, cmap="viridis_r",
    )  # fmt: skip
    left.set_xticks([i + 0.5 for i in range(len(DC_PCT))], DC_PCT)
    left.set_yticks([i + 0.5 for i in range(len(DP_PCT))], DP_PCT)
    left.set(xlabel="capacitance off resonance, %", ylabel="load off the power, %", title="s to the verdict, Qf 2.5")
    figure.colorbar(mesh)
    rest = times[len(setups) :].reshape(2, -1)
    for qf, row in zip((1.0, 2.5), rest, strict=True):
        right.plot([100 * s for s in SHARES], row, "o-", label=f"Qf {qf:g}")
    right.axhline(2.0, color="grey", lw=0.8)
    right.set(xlabel="charger's share of the island's power, %", ylabel=f"s ({AFTER_S:g} = not found)", ylim=(0, 3.2))
    right.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1])
