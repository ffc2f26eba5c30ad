"""Results for people and machines: lines, JSON, JUnit, one self-contained HTML page with a plot per scenario."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from hil.bench.capture import Capture
from hil.scenarios.play import Result
from hil.scenarios.verdict import Verdict

PLOTS = (("grid_vmin_pu", "grid_vmax_pu"), ("grid_f_hz",), ("ac_a", "dc_a"), ("cable_v",))
_COLOURS = ("#1f5fa8", "#c0392b", "#2e8b57")
_WIDTH, _HEIGHT, _POINTS = 720, 90, 600
_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top}
.PASS{color:#1d7a3e}.FAIL{color:#b3261e}.INCONCLUSIVE{color:#9a6700}.ERROR{color:#7b1fa2}
svg{display:block;margin:.3rem 0}details{margin:.6rem 0;border-top:1px solid #ddd}small{color:#666}"""


def line(result: Result) -> str:
    """One line for a terminal, and under it what did not pass."""
    text = f"{result.verdict.value:<13}{result.scenario:<44}{result.sim_s:7.1f} s in {result.wall_s:5.1f} s"
    if result.error:
        text += f"\n    {result.error}"
    for outcome in result.outcomes:
        if outcome.verdict is not Verdict.PASS:
            text += f"\n    {outcome.verdict.value}: {outcome.what}: {outcome.found}"
    return text


def summary(results: Sequence[Result], wall_s: float) -> str:
    counts = {v: sum(r.verdict is v for r in results) for v in Verdict}
    told = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    return f"{told or 'nothing'} of {len(results)} scenarios in {wall_s:.1f} s"


def as_dict(result: Result) -> dict[str, Any]:
    return {
        "scenario": result.scenario,
        "title": result.title,
        "tags": list(result.tags),
        "verdict": result.verdict.value,
        "error": result.error,
        "wall_s": round(result.wall_s, 3),
        "sim_s": round(result.sim_s, 3),
        "about": result.capture.about if result.capture else {},
        "outcomes": [
            {"verdict": o.verdict.value, "what": o.what, "found": o.found, "because": o.because}
            for o in result.outcomes
        ],
    }


def junit(results: Sequence[Result]) -> str:
    """JUnit's XML: FAIL is a failure, ERROR an error, INCONCLUSIVE a skip with its reason."""
    root = ET.Element("testsuite", name="quadrant scenarios", tests=str(len(results)))
    for key, verdict in (("failures", Verdict.FAIL), ("errors", Verdict.ERROR), ("skipped", Verdict.INCONCLUSIVE)):
        root.set(key, str(sum(r.verdict is verdict for r in results)))
    for r in results:
        case = ET.SubElement(root, "testcase", name=r.scenario, classname="scenario", time=f"{r.wall_s:.3f}")
        tag = {Verdict.FAIL: "failure", Verdict.ERROR: "error", Verdict.INCONCLUSIVE: "skipped"}.get(r.verdict)
        if tag is not None:
            bad = [f"{o.verdict.value}: {o.what}: {o.found}" for o in r.outcomes if o.verdict is not Verdict.PASS]
            message = "\n".join(([r.error] if r.error else []) + bad)
            ET.SubElement(case, tag, message=message.split("\n")[0]).text = message
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def page(results: Sequence[Result], title: str) -> str:
    """One HTML file without anything from outside."""
    e = html.escape
    rows = "".join(
        f'<tr><td class="{r.verdict.value}">{r.verdict.value}</td><td><a href="#{e(r.scenario)}">{e(r.scenario)}</a>'
        f"</td><td>{e(r.title)}</td></tr>"
        for r in results
    )
    parts = "".join(_part(r) for r in results)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{e(title)}</title><style>{_STYLE}</style>'
        f"<h1>{e(title)}</h1><p>{e(summary(results, sum(r.wall_s for r in results)))} of processor time.</p>"
        f"<table>{rows}</table>{parts}</html>\n"
    )


def _part(r: Result) -> str:
    e = html.escape
    rows = "".join(
        f'<tr><td class="{o.verdict.value}">{o.verdict.value}</td><td>{e(o.what)}<br><small>{e(o.because)}</small></td>'
        f"<td>{e(o.found)}</td></tr>"
        for o in r.outcomes
    )
    plots = "".join(_plot(r.capture, names) for names in PLOTS) if r.capture and r.capture.t else ""
    about = "; ".join(f"{k}: {v}" for k, v in r.capture.about.items() if v) if r.capture else ""
    opened = "" if r.verdict is Verdict.PASS else " open"
    return (
        f'<details id="{e(r.scenario)}"{opened}><summary class="{r.verdict.value}">{e(r.scenario)}: {e(r.title)}'
        f"</summary><p>{e(r.error)}</p><table>{rows}</table>{plots}<small>{e(about)}</small></details>"
    )


def _plot(capture: Capture, names: Sequence[str]) -> str:
    """A small line plot. Many samples in one column of pixels are drawn as their extremes, so no peak is lost."""
    names = [name for name in names if name in capture.series]
    if not names:
        return ""
    values = [x for name in names for x in capture.series[name]]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    t0, t1 = capture.t[0], capture.t[-1]
    width_s = (t1 - t0) or 1.0
    lines = []
    for name, colour in zip(names, _COLOURS, strict=False):
        column, n = capture.series[name], max(1, len(capture.t) // _POINTS)
        points = []
        for k in range(0, len(column), n):
            piece = column[k : k + n]
            x = (capture.t[k] - t0) / width_s * _WIDTH
            for y in {min(piece), max(piece)} if len(piece) > 1 else set(piece):
                points.append(f"{x:.1f},{_HEIGHT - 4 - (y - low) / span * (_HEIGHT - 8):.1f}")
        lines.append(f'<polyline fill="none" stroke="{colour}" points="{" ".join(points)}"/>')
    unit = capture.channels[names[0]].unit
    label = f"{', '.join(names)}: {low:.4g} to {high:.4g} {unit}, {width_s:g} s"
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}">{"".join(lines)}</svg><small>{html.escape(label)}</small>'
