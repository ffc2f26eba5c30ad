"""`quadrant codes`: which grid codes are here, what they say, how two differ, why an element waits as it does."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boards
from firmware.arguments import add_json
from firmware.grid_codes import Curve, GridCode, GridCodeError, Setting, adjust, inspect, names, sources
from firmware.grid_codes import words as w
from firmware.grid_support.settings import SWITCHES, settings_of, switched

SHOWN_W = 22_000.0  # rated power that support functions are shown for: that of the board `desk`
SUFFIXES = (".png", ".svg")


def cmd_list(args: argparse.Namespace) -> int:
    """All profiles with what becomes of each."""
    codes = [inspect(name) for name in names(refused=True)]
    if args.json:
        rows = [{"name": c.name, "title": c.title, "state": w.fate(c)[0].value, "why": w.fate(c)[1]} for c in codes]
        print(json.dumps(rows))
        return 0
    width = max(len(c.name) for c in codes)
    for fate in w.Fate:
        print(f"{fate.value}:")
        for code in codes:
            if w.fate(code)[0] is fate:
                print(f"  {code.name:<{width}}  {code.title}")
    print("`quadrant codes show NAME` says why one does not run, or which of its trips are unverified.")
    return 0


def cmd_show(args: argparse.Namespace) -> int:
    """One profile with every number that protection acts on, and what it carries beyond."""
    code = _code(args.name, args)
    if args.json:
        print(json.dumps(as_dict(code)))
        return 0
    fate, why = w.fate(code)
    print(f"{code.name}: {code.title}")
    print(f"  {code.standard}; {code.jurisdiction}; {code.nominal_v:g} V phase to neutral, {code.nominal_f_hz:g} Hz")
    print(f"  {fate.value}" + (f": {why}" if why else ""))
    for remark in code.remarks:
        print(f"  {remark}")
    for key, before, now in code.adjusted:
        print(f"  adjusted: {key} {before:g} -> {now:g}")
    print("trips")
    for trip in code.trips:
        conf = min(s.conf for _, s in trip.numbers()).name.lower()
        side = f"{trip.side.value} {w.threshold(code, trip)}"
        print(f"  {trip.id:<10} {trip.quantity.value:<14}{side:<27}{w.time(trip):<34}{conf}")
    if code.ride_through:
        print("ride-through")
        for row in code.ride_through:
            applied = "" if row.verified or code.allow_unverified else " (only remembered: not applied)"
            print(f"  {row.quantity.value:<10} {w.row(row)}{applied}")
    for section in ("enter_service", "mean_10min", "momentary_cessation"):
        found = [(k.partition(".")[2], s) for k, s in code.numbers() if k.startswith(f"{section}.")]
        if found:
            print(section)
            for key, setting in found:
                print(f"  {key:<24} {w.number(setting):<24} {setting.conf.name.lower()}")
            if section == "mean_10min" and code.mean_10min is not None:
                print(f"  {'method':<24} {code.mean_10min.method.value}")
    functions = functions_of(code)
    never = ", if the profile ran" if fate is w.Fate.NEVER else ""
    print(f"support functions of a charger of {SHOWN_W / 1000:g} kW{never}")
    for state, lines in functions.items():
        for line in lines or ["none"] * (state == "in force"):
            print(f"  {state:<10} {line}")
    if code.support:
        print("carried sections")
        print(f"  {', '.join(s.name for s in code.support)} (numbers: --json)")
    print(f"hash {code.profile_hash}")
    return 0


def cmd_diff(args: argparse.Namespace) -> int:
    """What two profiles say differently."""
    a, b = (_code(name, args) for name in (args.a, args.b))
    rows = difference(a, b)
    if args.json:
        print(json.dumps([{"what": key, a.name: x, b.name: y} for key, x, y in rows]))
        return 0
    if not rows:
        print(f"{a.name} and {b.name} say the same.")
        return 0
    left = max(len(x) for x in (a.name, *(x for _, x, _ in rows)))
    wide = max(len(key) for key, _, _ in rows)
    print(f"{'':<{wide}}  {a.name:<{left}}  {b.name}")
    for key, x, y in rows:
        print(f"{key:<{wide}}  {x:<{left}}  {y}")
    return 0


def cmd_explain(args: argparse.Namespace) -> int:
    """One element or number in plain English."""
    from firmware.guard.assemble import chain_of

    board = boards.load(args.board)
    if board.grid.code == args.name and args.nominal_v is None and args.adjust is None:
        # What this very board runs.
        args.allow_unverified = args.allow_unverified or board.grid.allow_unverified
        code = inspect(args.name, nominal_v=board.grid.nominal_v, allow_unverified=args.allow_unverified)
        code = adjust(code, dict(board.grid.adjust))
    else:
        code = _code(args.name, args)
    print("\n".join(w.explain(code, args.element.strip(), chain_of(board), board.name, sources())))
    return 0


def cmd_plot(args: argparse.Namespace) -> int:
    """The V-t and f-t plane as a picture."""
    out: Path = args.out or Path(f"{args.name}.png")
    if out.suffix.lower() not in SUFFIXES:
        raise GridCodeError(f"--out {out}: the name must end in .png or .svg")
    code = _code(args.name, args)
    if importlib.util.find_spec("matplotlib") is None:
        raise GridCodeError("a plot needs matplotlib, which is not installed: pip install 'quadrant[plot]'")
    from firmware.codes_plot import draw

    try:
        draw(code, out)
    except OSError as error:
        raise GridCodeError(f"--out {out}: cannot be written: {error.strerror}") from None
    print(out)
    return 0


def _code(name: str, args: argparse.Namespace) -> GridCode:
    """The profile as it would act: with --adjust and --nominal-v. Raises GridCodeError or BoardError."""
    code = inspect(name, nominal_v=args.nominal_v, allow_unverified=args.allow_unverified)
    return adjust(code, boards.read_adjustments(args.adjust)) if args.adjust is not None else code


def functions_of(code: GridCode) -> dict[str, list[str]]:
    """The support functions that a charger under `code` runs ('in force'), what it leaves out and why ('left out'), and
    what an operator may switch on with the board's functions_on ('off')."""
    settings = settings_of(code, SHOWN_W)
    running = dict(settings.functions())
    off = []
    for section in code.support:
        name = section.name
        told = any(line.startswith(f"{name}:") for line in settings.left_out)
        # What is on and does not run is left out, or it is another reactive function's turn.
        if name in SWITCHES and name not in running and section.enabled is not True and not told:
            then = settings_of(switched(code, [name]), SHOWN_W)
            why = "; ".join(line for line in then.left_out if line not in settings.left_out)
            off.append(name + (f", and left out if it were on: {why}" if why else ""))
    return {
        "in force": [f"{name} ({clause})" if clause else name for name, clause in running.items()],
        "left out": list(settings.left_out),
        "off": off,
    }


# ---------------------------------------------------------------------------------------------------------- difference
def _facts(code: GridCode) -> dict[str, str]:
    """Everything a code says, one line of words per thing; what two codes have in common has the same key."""
    facts = {"standard": code.standard, "nominal frequency": f"{code.nominal_f_hz:g} Hz"}
    for trip in code.trips:
        facts[f"trip {trip.id}"] = f"{trip.quantity.value} {trip.side.value} {w.number(trip.threshold)}, {w.time(trip)}"
        for key, setting in trip.numbers():
            if setting.min is not None:
                facts[f"trip {trip.id} range of {key}"] = w.allowed(setting)
    for row in code.ride_through:
        key = f"{row.quantity.value} {row.lo.value:g}..{row.hi.value:g}"
        facts[f"ride-through {key}"] = w.row(row).partition(f"{row.lo.unit} ")[2]
    if code.mean_10min is not None:
        facts["10-minute mean"] = code.mean_10min.method.value
    for key, setting in code.numbers():
        if not key.startswith(("trip.", "ride_through.")):
            facts[key] = w.number(setting)
    for section in code.support:
        if section.enabled is not None:
            facts[f"{section.name}.enabled"] = "yes" if section.enabled else "no"
        for key, curve in section.curves:
            facts[f"{section.name}.{key}"] = " ".join(f"({x:g}, {y:g})" for x, y in curve.points)
    return facts


def difference(a: GridCode, b: GridCode) -> list[tuple[str, str, str]]:
    """(what, in a, in b) of everything that differs; '-' where one of them has nothing of the kind."""
    x, y = _facts(a), _facts(b)
    return [(k, x.get(k, "-"), y.get(k, "-")) for k in dict.fromkeys((*x, *y)) if x.get(k) != y.get(k)]


# ---------------------------------------------------------------------------------------------------------------- JSON
def _setting(setting: Setting) -> dict[str, Any]:
    found = {
        "value": setting.value if math.isfinite(setting.value) else None,
        "unit": setting.unit,
        "clause": setting.clause,
        "src": setting.src,
        "conf": setting.conf.name.lower(),
    }
    if setting.written:
        found["written"] = setting.written
    if setting.min is not None:
        found |= {"min": setting.min, "max": setting.max}
        found["range_conf"] = (setting.conf if setting.range_conf is None else setting.range_conf).name.lower()
    return found | ({"note": setting.note} if setting.note else {})


def _curve(curve: Curve) -> dict[str, Any]:
    evidence = {"clause": curve.clause, "src": curve.src, "conf": curve.conf.name.lower()}
    note = {"note": curve.note} if curve.note else {}
    return {"points": curve.points, "x": curve.x, "y": curve.y} | evidence | note


def as_dict(code: GridCode) -> Mapping[str, Any]:
    """A profile as plain data: every number with clause, sources and confidence."""
    fate, why = w.fate(code)
    return {
        "name": code.name,
        "title": code.title,
        "standard": code.standard,
        "jurisdiction": code.jurisdiction,
        "nominal_v": code.nominal_v,
        "nominal_f_hz": code.nominal_f_hz,
        "state": fate.value,
        "why": why,
        "verified": code.verified,
        "unverified_trips": code.unverified_trips,
        "remarks": code.remarks,
        "adjusted": [{"key": k, "from": before, "to": now} for k, before, now in code.adjusted],
        "hash": code.profile_hash,
        "numbers": {key: _setting(setting) for key, setting in code.numbers()},
        "functions": functions_of(code),
        "support": [
            {"name": s.name, "enabled": s.enabled, "curves": {k: _curve(c) for k, c in s.curves}, **dict(s.texts)}
            for s in code.support
        ],
    }


def register(commands: Any) -> None:
    """Add `codes`."""
    codes = commands.add_parser(
        "codes",
        help="grid codes: list, show, compare, explain, plot",
        description="What the grid codes say that this charger can be set to. docs/grid-codes.md has the whole table.",
        example="quadrant codes explain ieee1547_2018_cat3 OV2",
    )
    actions = codes.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="all profiles, and which of them run",
        description="All profiles: those that run, those that need allow_unverified, those that do not run.",
        example="quadrant codes list",
    )
    show = actions.add_parser(
        "show",
        help="one profile",
        description="What a profile says: trips, ride-through, entering service. --json gives every number with clause,"
        "\nsources, confidence and range.",
        example="quadrant codes show de_vde_ar_n_4105_2018 --adjust operator.toml",
    )
    diff = actions.add_parser(
        "diff",
        help="what two profiles say differently",
        description="What two profiles say differently; - where one of them has nothing of the kind.",
        example="quadrant codes diff us_ca_rule21 ieee1547_2018_cat3_normB",
    )
    explain = actions.add_parser(
        "explain",
        help="one element in plain English",
        description="An element (OV2), a number (enter_service.delay_s) or a section (phase_jump): threshold, what its"
        "\ntime means, how long it waits inside on a board, range, sources and confidence. Quote names with < or >.",
        example="quadrant codes explain it_cei_0_21 '81>.S2' --board beg22",
    )
    plot = actions.add_parser(
        "plot",
        help="V-t and f-t plane as a picture",
        description="Trip, ride-through and cessation over time, as PNG or SVG (needs matplotlib: quadrant[plot]).",
        example="quadrant codes plot ieee1547_2018_cat2_normB --out cat2.svg",
    )
    for action in (show, explain, plot):
        action.add_argument("name", metavar="NAME", help="profile; `quadrant codes list` names them")
    diff.add_argument("a", metavar="A", help="profile")
    diff.add_argument("b", metavar="B", help="profile")
    explain.add_argument("element", metavar="ELEMENT", help="OV2, UF1, enter_service.delay_s, phase_jump, ...")
    explain.add_argument("--board", default="desk", metavar="FILE|NAME", help="whose chain (default: desk)")
    plot.add_argument("--out", type=Path, metavar="FILE", help=".png or .svg (default: NAME.png)")
    for action in (show, diff, explain, plot):
        action.add_argument("--adjust", type=Path, metavar="FILE", help="with the adjustments of this TOML file")
        action.add_argument("--nominal-v", type=float, metavar="VOLTS", help="phase to neutral (default: the code's)")
        action.add_argument(
            "--allow-unverified", action="store_true", help="as with allow_unverified in the board file"
        )
    for action in (listing, show, diff):
        add_json(action)
    runs = {listing: cmd_list, show: cmd_show, diff: cmd_diff, explain: cmd_explain, plot: cmd_plot}
    for action, run in runs.items():
        action.set_defaults(run=run)
