"""`quadrant replay`: reads a recording and a grid code, runs the one through the other, writes what came of it."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import boards
from firmware.grid_codes import GridCode, adjust, inspect, load
from firmware.grid_support.fixed import FixedVar
from firmware.grid_support.settings import SupportSettings, settings_of
from firmware.guard.assemble import chain_of
from firmware.quantities import show_power
from firmware.recording import Recording, RecordingError, read_comtrade, read_csv, read_wav
from firmware.replay import Point, Replay, as_dict, replay

SUFFIXES = (".png", ".svg")
NOMINAL_V = (50.0, 1e6)  # of a recording, phase to neutral: from 100 V systems to transmission
MAX_RATED_W = 1e9
FIXED_VAR_S = 10.0  # IEEE 1547-2018, 5.3.5: longest response time of constant reactive power


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when the recording was run through, whatever it led to. RecordingError, GridCodeError, BoardError."""
    _check(args)
    code = _code(args)
    nominal_v = code.nominal_v if args.nominal_v is None else args.nominal_v
    recording = _read(args, nominal_v, code.nominal_f_hz)
    result = replay(
        recording.samples,
        code,
        chain_of(boards.load(args.board)),
        rated_w=args.rated_w,
        p_set_w=args.p_set_w,
        support=_support(args, code),
        in_service=args.start == "in-service",
    )
    report = _report(args, code, recording, nominal_v, result)
    if args.series is not None:
        _write(args.series, lambda path: _series(path, result.series))
    if args.plot is not None:
        from firmware.replay_plot import draw

        _write(args.plot, lambda path: draw(recording.samples, result, code, path))
    if args.json is not None and str(args.json) != "-":
        _write(args.json, lambda path: path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n"))
    if str(args.json) == "-":
        print(json.dumps(report, allow_nan=False))
    else:
        _summary(code, recording, result)
    return 0


def _check(args: argparse.Namespace) -> None:
    """The numbers of the command line, before anything is read."""
    for name, value, low, high, unit in (
        ("--rated-w", args.rated_w, 1.0, MAX_RATED_W, "W"),
        ("--p-set-w", args.p_set_w, -MAX_RATED_W, MAX_RATED_W, "W"),
        ("--nominal-v", args.nominal_v, *NOMINAL_V, "V"),
        ("--full-scale-v", args.full_scale_v, 1e-6, 1e9, "V"),
    ):
        if value is not None and not low <= value <= high:  # refuses nan too
            raise RecordingError(f"{name} is {value:g}; allowed: {low:g}..{high:g} {unit}")
    if args.q_set_var is not None and not abs(args.q_set_var) <= args.rated_w:
        raise RecordingError(f"--q-set-var is {args.q_set_var:g}; allowed: {-args.rated_w:g}..{args.rated_w:g} var")
    if args.plot is not None:
        if args.plot.suffix.lower() not in SUFFIXES:
            raise RecordingError(f"--plot {args.plot}: the name must end in {' or '.join(SUFFIXES)}")
        if importlib.util.find_spec("matplotlib") is None:
            raise RecordingError("a plot needs matplotlib, which is not installed: pip install 'quadrant[plot]'")


def _code(args: argparse.Namespace) -> GridCode:
    """The profile for its own nominal voltage: a recording of another one is scaled, not the code."""
    nominal_v = inspect(args.code).nominal_v
    code = load(args.code, nominal_v=nominal_v, allow_unverified=args.allow_unverified)
    return adjust(code, boards.read_adjustments(args.adjust)) if args.adjust is not None else code


def _read(args: argparse.Namespace, nominal_v: float, nominal_f_hz: float) -> Recording:
    if args.csv is not None:
        return read_csv(args.csv, nominal_v)
    if importlib.util.find_spec("numpy") is None:
        raise RecordingError("samples need numpy, which is not installed: pip install 'quadrant[waveform]'")
    if args.comtrade is not None:
        return read_comtrade(args.comtrade, nominal_v, nominal_f_hz)
    return read_wav(args.wav, nominal_v, nominal_f_hz, args.full_scale_v)


def _support(args: argparse.Namespace, code: GridCode) -> SupportSettings:
    settings = settings_of(code, args.rated_w)
    if args.q_set_var is None:
        return settings
    fixed = FixedVar(args.q_set_var / args.rated_w, FIXED_VAR_S, "set by --q-set-var")
    return changed(settings, reactive=fixed)


def _report(
    args: argparse.Namespace, code: GridCode, recording: Recording, nominal_v: float, result: Replay
) -> dict[str, Any]:
    samples = recording.samples
    head = {
        "code": code.name,
        "title": code.title,
        "profile_hash": code.profile_hash,
        "verified": code.verified,
        "caution": code.caution,
        "recording": recording.source,
        "rows": len(samples),
        "holes": recording.holes,
        "t_from_s": samples[0].t,
        "t_to_s": samples[-1].t,
        "nominal_v": nominal_v,
        "board": args.board,
        "rated_w": args.rated_w,
        "p_set_w": args.p_set_w,
        "q_set_var": args.q_set_var,
        "start": args.start,
    }
    report: dict[str, Any] = _plain(head | as_dict(result))
    return report


def _plain(value: Any) -> Any:
    """JSON has no infinity and no nan: null."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _series(path: Path, series: list[Point]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(Point._fields)
        for p in series:
            out.writerow([f"{p.t_s:.6f}", *(f"{x:.3f}" if isinstance(x, float) else x for x in p[1:])])


def _write(path: Path, write: Any) -> None:
    try:
        write(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from None


def _summary(code: GridCode, recording: Recording, result: Replay) -> None:
    samples = recording.samples
    print(f"{code.title}, {len(samples)} rows from {samples[0].t:g} s to {samples[-1].t:g} s")
    if code.caution:
        print(code.caution)
    for left_out in result.left_out:
        print(f"not applied: {left_out}")
    for event in result.events:
        what = f"{event.kind} {event.element}".strip()
        print(f"{event.t_s:12.3f} s  {what:<22} {event.text}")
    last = result.series[-1]
    print(
        f"at the end: {result.final_state}, permitted {show_power(last.permitted_min_w)} to "
        f"{show_power(last.permitted_max_w)}. {result.final_reason}"
    )
