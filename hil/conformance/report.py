"""The report of a campaign: one self-contained HTML, JSON, JUnit."""

from __future__ import annotations

import html
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hil.conformance.engine import Done

ORDER = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR")
_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.6rem 0}td,th{text-align:left;padding:.2rem .6rem .2rem 0;
vertical-align:top;border-bottom:1px solid #eee}.PASS{color:#1d7a3e}.FAIL{color:#b3261e}.INCONCLUSIVE{color:#9a6700}
.ERROR{color:#7b1fa2}svg{display:block;margin:.2rem 0;max-width:100%}svg text{font:10px system-ui;fill:#555}
.a{text-anchor:end}details{margin:.3rem 0;border-top:1px solid #ddd}summary{cursor:pointer}small{color:#666}
code{font-size:.85em;overflow-wrap:anywhere}"""


def counts(results: Sequence[Done]) -> dict[str, int]:
    return {verdict: sum(done.verdict == verdict for done in results) for verdict in ORDER}


def summary(results: Sequence[Done]) -> str:
    told = ", ".join(f"{n} {verdict}" for verdict, n in counts(results).items() if n)
    return f"{told or 'nothing'} of {len(results)} runs"


def as_json(results: Sequence[Done], about: Mapping[str, str], left_out: Sequence[str]) -> str:
    runs = [{k: v for k, v in asdict(done).items() if k != "plots"} for done in results]
    document = {"about": dict(about), "counts": counts(results), "not_tested": list(left_out), "runs": runs}
    return json.dumps(document, indent=1) + "\n"


def as_junit(results: Sequence[Done], about: Mapping[str, str]) -> str:
    """FAIL is a failure, ERROR an error, INCONCLUSIVE a skip with its reason."""
    root = ET.Element("testsuite", name=f"conformance {about.get('grid code', '')}", tests=str(len(results)))
    for attribute, verdict in (("failures", "FAIL"), ("errors", "ERROR"), ("skipped", "INCONCLUSIVE")):
        root.set(attribute, str(counts(results)[verdict]))
    for done in results:
        case = ET.SubElement(root, "testcase", name=done.id, classname=done.suite, time=f"{done.wall_s:.3f}")
        tag = {"FAIL": "failure", "ERROR": "error", "INCONCLUSIVE": "skipped"}.get(done.verdict)
        if tag:
            ET.SubElement(case, tag, message=(problems(done) or [done.verdict])[0]).text = "\n".join(problems(done))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def problems(done: Done) -> list[str]:
    """What did not pass, one sentence each."""
    bad = [f"{o['verdict']}: {o['what']}: {o['found']}" for o in done.outcomes if o["verdict"] != "PASS"]
    return ([done.error] if done.error else []) + bad


def page(results: Sequence[Done], about: Mapping[str, str], left_out: Sequence[str]) -> str:
    """One HTML file without anything from outside."""
    e = html.escape
    title = f"Conformance of {about.get('grid code', 'a charger')}"
    facts = "".join(f"<tr><th>{e(k)}</th><td><code>{e(v)}</code></td></tr>" for k, v in about.items())
    missing = "".join(f"<li>{e(text)}</li>" for text in left_out) or "<li>nothing</li>"
    runs = "".join(_run(done) for done in results)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{e(title)}</title><style>{_STYLE}</style>'
        f"<h1>{e(title)}</h1><p>{e(summary(results))}. Tested to procedures as transcribed from the sources named; "
        "this is no certificate.</p>"
        f"<table>{facts}</table><h2>By clause</h2>{_clauses(results)}<h2>Not tested</h2><ul>{missing}</ul>"
        f"<h2>Runs</h2><p>Green: where a value must be. Red: where it must not be.</p>{runs}</html>\n"
    )


def _clauses(results: Sequence[Done]) -> str:
    rows: dict[tuple[str, str], list[Done]] = {}
    for done in results:
        rows.setdefault((done.suite, done.clause), []).append(done)
    head = "<tr><th>Suite</th><th>Clause</th>" + "".join(f"<th>{v}</th>" for v in ORDER) + "</tr>"
    body = ""
    for (suite, clause), group in rows.items():
        cells = "".join(f'<td class="{v if n else ""}">{n or ""}</td>' for v, n in counts(group).items())
        body += f"<tr><td>{html.escape(suite)}</td><td>{html.escape(clause)}</td>{cells}</tr>"
    return f"<table>{head}{body}</table>"


def _run(done: Done) -> str:
    e = html.escape
    rows = "".join(
        f'<tr><td class="{o["verdict"]}">{o["verdict"]}</td><td>{e(o["what"])}<br><small>{e(o["because"])}</small></td>'
        f"<td>{e(o['found'])}</td></tr>"
        for o in done.outcomes
    )
    settings = ", ".join(f"{key} = {value:g}" for key, value in done.settings.items()) or "as the profile has them"
    about = "; ".join(f"{k}: {v}" for k, v in done.about.items() if v)
    files = f"{done.files}.cfg, .dat; sha256 {done.sha256}" if done.files else "no capture"
    opened = "" if done.verdict == "PASS" else " open"
    return (
        f'<details{opened}><summary><b class="{done.verdict}">{done.verdict}</b> {e(done.id)}: '
        f"{e(done.title)}</summary>"
        f"<p>{e(done.error)}</p><table>{rows}</table>{''.join(done.plots)}"
        f"<small>Settings: {e(settings)}. {e(done.clause)}. {e(about)}. {done.sim_s:g} s played in {done.wall_s:g} s. "
        f"<code>{e(files)}</code></small></details>"
    )


def write(out: Path, results: Sequence[Done], about: Mapping[str, str], left_out: Sequence[str]) -> None:
    """report.html, report.json and junit.xml in `out`. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(page(results, about, left_out), encoding="utf-8")
    (out / "report.json").write_text(as_json(results, about, left_out), encoding="utf-8")
    (out / "junit.xml").write_text(as_junit(results, about), encoding="utf-8")
