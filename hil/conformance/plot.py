"""Plots of a run as inline SVG, with the tolerance band of every demand that can be drawn."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import replace

from hil.bench.capture import Capture, CaptureError
from hil.scenarios import follow
from hil.scenarios.schema import Scenario
from hil.scenarios.verdict import STILL_A, Band, Must, follow_means, instants

WIDTH, HEIGHT, COLUMNS = 760, 96, 300
LEFT, RIGHT = 64, 6
_COLOURS = ("#1f5fa8", "#c0392b", "#2e8b57")
_GROUPS = (
    ("grid_vmin_pu", "grid_vmax_pu"), ("grid_f_hz",), ("grid_apart_deg",), ("ac_a",), ("ac_var",), ("dc_w",),
    ("k_grid",),
)  # fmt: skip
_ALWAYS = ("ac_a", "k_grid")


def plots(capture: Capture, scenario: Scenario) -> list[str]:
    """One SVG per group of channels that moved or that something is demanded of."""
    try:
        times = instants(capture, scenario.instants)
    except CaptureError:
        times = {}
    musts = [_drawn(capture, m, times[m.after]) for m in scenario.musts if m.after in times]
    found = []
    for names in _GROUPS:
        here = [n for n in names if n in capture.series]
        wanted = [m for m in musts if _channel(m) in here]
        moved = any(max(capture.series[n]) - min(capture.series[n]) > 10.0 * capture.channels[n].accuracy for n in here)
        if here and (wanted or moved or set(here) & set(_ALWAYS)):
            found.append(_svg(capture, here, wanted, times))
    return found


def _drawn(capture: Capture, m: Must, t0: float) -> Must:
    """A curve over another channel as the band that it comes to in its window, at the measured input."""
    if m.follow is None:
        return m
    try:
        x, _, before = follow_means(capture, m, t0)
    except CaptureError:
        return m
    low, high = follow.band(m.follow, x, before)
    return replace(m, kind="always", band=Band(m.follow.y, low, high))


def _channel(must: Must) -> str:
    return "ac_a" if must.kind == "ceases" else must.band.channel if must.band else ""


def _svg(capture: Capture, names: Sequence[str], wanted: Sequence[Must], times: dict[str, float]) -> str:
    t0, t1 = capture.t[0], capture.t[-1]
    wide = (t1 - t0) or 1.0
    limits = [x for m in wanted if m.band for x in (m.band.low, m.band.high) if math.isfinite(x)]
    values = [x for n in names for x in (min(capture.series[n]), max(capture.series[n]))] + limits
    low, high = min(values), max(values)
    margin = 0.06 * ((high - low) or 1.0)
    low, high = low - margin, high + margin

    def x_of(t: float) -> float:
        return LEFT + min(max((t - t0) / wide, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y_of(v: float) -> float:
        return (1.0 - min(max((v - low) / (high - low), 0.0), 1.0)) * (HEIGHT - 16) + 2

    parts = [f'<rect x="{LEFT}" y="2" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - 16}" fill="#f4f4f2"/>']
    parts += [_band(m, times[m.after], capture, x_of, y_of, low, high) for m in wanted]
    parts += [
        f'<line x1="{x_of(t):.1f}" x2="{x_of(t):.1f}" y1="2" y2="{HEIGHT - 14}" stroke="#888" stroke-dasharray="3 2"/>'
        f'<text x="{x_of(t) + 2:.1f}" y="11" class="i">{html.escape(name)}</text>'
        for name, t in times.items()
        if name != "start"
    ]
    for name, colour in zip(names, _COLOURS, strict=False):
        parts.append(_line(capture, name, colour, x_of, y_of))
    unit = capture.channels[names[0]].unit
    label = f"{', '.join(names)} {f'[{unit}]' if unit else ''}"
    parts += [
        f'<text x="{LEFT - 4}" y="10" class="a">{high:.4g}</text>',
        f'<text x="{LEFT - 4}" y="{HEIGHT - 15}" class="a">{low:.4g}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 2}" class="i">{html.escape(label)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" class="a">{wide:.4g} s</text>',
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'


def _band(m: Must, t: float, capture: Capture, x_of, y_of, low: float, high: float) -> str:  # type: ignore[no-untyped-def]
    """Green where the value must be; red where it must no longer (or not yet) be."""
    end = capture.t[-1]
    if m.kind == "ceases":
        begin = t + (m.within_s or 0.0)
        a, b = y_of(STILL_A), y_of(high)
        return _rect(x_of(begin), x_of(end), b, a, "#f6c6c0")
    assert m.band is not None
    top = y_of(min(m.band.high, high))
    bottom = y_of(max(m.band.low, low))
    if m.kind == "never":
        return _rect(x_of(t + m.from_s), x_of(end if m.until_s is None else t + m.until_s), top, bottom, "#f6c6c0")
    if m.kind == "reaches":
        early = "" if m.not_before_s is None else _rect(x_of(t), x_of(t + m.not_before_s), top, bottom, "#f6c6c0")
        return early + _rect(x_of(t + (m.within_s or 0.0)), x_of(end), top, bottom, "#cfe8cf")
    return _rect(x_of(t + m.from_s), x_of(end if m.until_s is None else t + m.until_s), top, bottom, "#cfe8cf")


def _rect(x1: float, x2: float, top: float, bottom: float, colour: str) -> str:
    if x2 <= x1:
        return ""
    tall = max(bottom - top, 1.0)
    return f'<rect x="{x1:.1f}" y="{top:.1f}" width="{x2 - x1:.1f}" height="{tall:.1f}" fill="{colour}"/>'


def _line(capture: Capture, name: str, colour: str, x_of, y_of) -> str:  # type: ignore[no-untyped-def]
    """Many samples in one column of pixels are drawn as their extremes, so no peak is lost."""
    column, n = capture.series[name], max(1, len(capture.t) // COLUMNS)
    points, last = [], ("", "")
    for k in range(0, len(column), n):
        piece = column[k : k + n]
        x = f"{x_of(capture.t[k]):.1f}"
        a, b = f"{y_of(min(piece)):.1f}", f"{y_of(max(piece)):.1f}"
        both = (a, b) if piece[0] <= piece[-1] else (b, a)
        if both != last or k + n >= len(column):
            if last[0]:
                points.append(f"{x},{last[1]}")
            points += [f"{x},{y}" for y in dict.fromkeys(both)]
            last = both
    return f'<polyline fill="none" stroke="{colour}" points="{" ".join(points)}"/>'
