"""Writes docs/grid-codes.md from the profiles: `python -m firmware.grid_codes.document > docs/grid-codes.md`."""

from __future__ import annotations

import sys
import textwrap

from firmware.grid_codes import words as w
from firmware.grid_codes.loader import inspect, names, sources
from firmware.grid_codes.model import Confidence, GridCode, Quantity

_HEAD = """# Grid codes

Generated from the profiles in `firmware/grid_codes/` by `python -m firmware.grid_codes.document > docs/grid-codes.md`;
do not edit. How protection acts on them is in [protection.md](protection.md).

**Nothing here is certified, and no number was read in the standard itself.** Each was taken from public software,
manuals, rules of network operators or legal texts, or is only remembered; each carries its clause (or says that the
source gave none), its sources, a confidence and the range in which an operator may move it. *high*: two independent
sources or a legal text. *medium*: one good source. *low*: remembered, or a weak source. A test compares every trip with
a table that was written from the sources (`tests/test_grid_code_profiles.py`).

```sh
quadrant codes list                                  # all profiles, and which of them run
quadrant codes show de_vde_ar_n_4105_2018            # one profile; --json gives every number with its sources
quadrant codes diff us_ca_rule21 ieee1547_2018_cat3  # what two say differently
quadrant codes explain ieee1547_2018_cat3 OV2 --board desk
quadrant codes plot ieee1547_2018_cat2_normB --out cat2.svg
```

## What becomes of a profile

- *runs*: a board names it in `[grid] code` and starts.
- *only with allow_unverified*: at least one trip rests on a number of low confidence. Without
  `allow_unverified = true` in the board file the charger does not start; with it, the event `grid_code`, `codes show`
  and the plot say NOT VERIFIED and name the trips. For a desk only.
- *does not run*: a number of the code was not found anywhere, or this hardware cannot keep it. No flag helps;
  `codes show`, `diff`, `explain` and `plot` still show what there is.

IEEE 1547-2018 is composed: `ieee1547_2018_cat1`, `cat2`, `cat3` hold the abnormal performance category (trips and
ride-through), `_normA` and `_normB` behind them add the normal performance category (reactive power, volt-watt).

Three kinds of time are kept apart: *0.1 s* is set on a relay, the chain comes on top; *cleared by 0.16 s* includes the
whole chain; *not before 1 s, off by 2 s* holds for the fastest and for the slowest chain. The delay inside follows from
the board's figures; a board that cannot keep a time does not start ([the chain](protection.md)).

An operator's adjustments stand in the board file under `[grid.adjust]`, or in a file of their own that the board names
as `adjust_file`. Only numbers with a range can move, only inside it, and a range that is only remembered needs
`allow_unverified`. At every start guard records the profile, a hash over all its numbers, and the adjustments as the
event `grid_code`.
"""

_TAIL = """
## What is carried and not acted on

Volt-var, volt-watt, watt-var, frequency droop, LFSM-O and -U, the frequency response of AS/NZS 4777.2, ride-through of
ROCOF and phase jumps, fault ride-through envelopes, limits of islanding time and power quality, and accuracy stand in
the sections `[support.*]` of the profiles: checked like all numbers, shown by `codes show --json`, and given to other
code as `GridCode.section(name)`. Protection does not act on them.
"""


def _trips(code: GridCode) -> list[str]:
    lines = [
        "| Element | Quantity | Threshold | Time | Adjustable | Confidence | Sources |",
        "|---|---|---|---|---|---|---|",
    ]
    for trip in code.trips:
        numbers = dict(trip.numbers())
        ranges = [f"{key} {w.allowed(s)}" for key, s in numbers.items() if s.min is not None and s.min != s.max]
        conf = min(s.conf for s in numbers.values())
        shown = conf.name.lower() if conf is not Confidence.LOW else "**low**"
        side = f"{trip.side.value} {w.threshold(code, trip)}"
        cells = (
            trip.id, trip.quantity.value, side, w.time(trip), "<br>".join(ranges) or "-", shown,
            ", ".join(trip.threshold.src),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _wrapped(*sentences: str) -> list[str]:
    return textwrap.wrap(" ".join(s for s in sentences if s), 120, break_long_words=False, break_on_hyphens=False)


def _profile(code: GridCode, like: str) -> list[str]:
    """One profile. `like`: an earlier one with the same trips and rows, or ''."""
    fate, why = w.fate(code)
    state = f"**{fate.value.capitalize()}**" + (f": {why}" if why else ".")
    state = state if state.endswith(".") else f"{state}."
    head = f"{code.title}. {code.jurisdiction}; {code.nominal_f_hz:g} Hz."
    lines = ["", f"### {code.name}", "", *_wrapped(head, state, *code.remarks)]
    if like:
        return [*lines, *_wrapped(f"Trips, ride-through and entering service as in [{like}](#{like}).")]
    lines += ["", *_trips(code), ""]
    es, numbers = code.enter_service, dict(code.numbers())
    ramp = es.ramp_pu_per_min or es.ramp_duration_s
    window = f"V {w.number(es.v_min)} to {w.number(es.v_max)}, f {w.number(es.f_min)} to {w.number(es.f_max)}"
    entry = (
        f"Enters service: {window}, for {w.number(es.delay_s)}; ramp {w.number(ramp) if ramp is not None else 'none'}."
    )
    if es.first_delay_s is not None:
        entry += f" First start: {w.number(es.first_delay_s)}."
    if es.short_interruption_delay_s is not None and es.short_interruption_max_s is not None:
        longest, delay = es.short_interruption_max_s, es.short_interruption_delay_s
        weak_one = min(longest.conf, delay.conf) is Confidence.LOW
        entry += f" After an interruption of up to {w.number(longest)}: {w.number(delay)}"
        entry += " (only remembered: not applied)." if weak_one else "."
    mean, parts = "", ["enter_service."]
    if any(t.quantity is Quantity.VOLTAGE_10MIN for t in code.trips) and code.mean_10min is not None:
        parts.append("mean_10min.")
        mean = f"10-minute mean: {code.mean_10min.method.value}, new every {code.mean_10min.interval_s.value:g} s."
    weak = [k for k in code.unverified if k.startswith(tuple(parts)) and numbers[k].known]
    low = f"Of low confidence beside the trips: {', '.join(weak)}." if weak else ""
    lines += _wrapped(entry, mean, low)
    rows = [w.row(r) + ("" if r.verified else " (only remembered: not applied)") for r in code.ride_through]
    return [*lines, "", *_wrapped(f"Ride-through: {'; '.join(rows)}.")] if rows else lines


def render() -> str:
    """The whole document, ending with a newline."""
    codes = [inspect(name) for name in names(refused=True)]
    lines = [_HEAD, "| Profile | Where | State | Unverified trips |", "|---|---|---|---|"]
    for code in codes:
        trips = ", ".join(code.unverified_trips) or "-"
        lines.append(f"| [{code.name}](#{code.name}) | {code.title} | {w.fate(code)[0].value} | {trips} |")
    lines += [_TAIL, "## The profiles"]
    seen: dict[object, str] = {}
    for code in codes:
        says = (code.trips, code.ride_through, code.enter_service)
        lines += _profile(code, seen.get(says, ""))
        seen.setdefault(says, code.name)
    lines += ["", "## Sources", "", "| Key | What it is |", "|---|---|"]
    lines += [f"| {key} | {what} |" for key, what in sources().items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
