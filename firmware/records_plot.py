"""A disturbance record as a picture: voltages, frequency, power and current, and what was yes or no below them."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from firmware.recorder.comtrade import Record

PANELS = (
    ("grid, V", ("l1_v", "l2_v", "l3_v", "converter_l1_v", "converter_l2_v", "converter_l3_v")),
    ("frequency, Hz", ("f_hz", "converter_f_hz")),
    ("power, W", ("asked_w", "permitted_w", "p_ac_w")),
    ("DC, A", ("i_dc_a", "i_set_a", "i_command_a")),
)


def draw(record: Record, title: str, path: Path) -> None:
    """Write the picture; its format follows the suffix (.png, .svg). Time 0 is the event. OSError when it cannot be
    written. A status channel that never changes and is at rest is not shown."""
    t_s = [t - record.trigger_s for t in record.t_s]
    analog = {channel.name: channel.values for channel in record.analog}
    panels = [(label, [n for n in names if n in analog]) for label, names in PANELS]
    panels = [(label, names) for label, names in panels if names]
    bars = [s for s in record.status if any(s.values) and (not all(s.values) or s.normal)]
    heights = [2.0] * len(panels) + [max(1.0, 0.22 * len(bars))]
    figure, axes = plt.subplots(
        len(heights), 1, sharex=True, figsize=(11, sum(heights) + 1), height_ratios=heights, constrained_layout=True
    )
    for axis, (label, names) in zip(axes, panels, strict=False):
        for name in names:
            axis.plot(t_s, analog[name], drawstyle="steps-post", linewidth=1.2, label=name)
        axis.set_ylabel(label)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    last = axes[-1]
    for number, status in enumerate(bars):
        ones = [float(number) + 0.4 * (2 * value - 1) for value in status.values]
        last.fill_between(t_s, number - 0.4, ones, step="post", linewidth=0, color="#1565c0", alpha=0.8)
    last.set_yticks(range(len(bars)), [status.name for status in bars], fontsize=8)
    last.set_ylim(len(bars) - 0.5, -0.5)
    last.set_xlabel("s after the event")
    for axis in axes:
        axis.axvline(0.0, color="#c62828", linewidth=1)
        axis.grid(alpha=0.3)
    figure.suptitle(f"{record.station}: {title}", fontsize=11)
    # Without a date in it the same record gives the same file.
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    try:
        figure.savefig(path, dpi=110, metadata=metadata)
    finally:
        plt.close(figure)
