"""A grid code in words, for the command line, the documents and the log. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from firmware.grid_codes.chain import Chain, internal_delay
from firmware.grid_codes.model import (
    ClearingMax,
    Confidence,
    DelayMinAndDisconnectMax,
    GridCode,
    GridCodeError,
    Quantity,
    RelaySetting,
    RideThroughRow,
    Setting,
    Side,
    TripSetting,
)

BELIEF = {
    Confidence.HIGH: "high: two independent sources, or a legal text",
    Confidence.MEDIUM: "medium: one good source",
    Confidence.LOW: "low: remembered or from a weak source, NOT VERIFIED",
}
_WHAT = {
    Quantity.VOLTAGE: "the RMS voltage of any phase to neutral",
    Quantity.VOLTAGE_10MIN: "the sliding 10-minute mean of the voltage of any phase to neutral",
    Quantity.FREQUENCY: "the frequency",
    Quantity.ROCOF: "the rate of change of frequency, rising or falling,",
}


class Fate(enum.Enum):
    """What `load` does with a profile."""

    RUNS = "runs"
    UNVERIFIED = "only with allow_unverified"
    NEVER = "does not run"


def fate(code: GridCode) -> tuple[Fate, str]:
    """What becomes of a profile on a charger, and why; '' when it simply runs."""
    if code.refused:
        return Fate.NEVER, code.refused
    if code.missing:
        return Fate.NEVER, f"there is {'; there is '.join(code.missing)}"
    if not code.verified:
        return Fate.UNVERIFIED, code.caution
    return Fate.RUNS, ""


def number(setting: Setting) -> str:
    """'1.2 pu', '265 V = 1.152 pu', 'not known'."""
    if not setting.known:
        return "not known"
    plain = f"{setting.value:.7g}" if not setting.written else f"{setting.value:.4g}"
    text = f"{plain} {setting.unit}" if setting.unit != "1" else plain
    return f"{setting.written} = {text}" if setting.written else text


def threshold(code: GridCode, trip: TripSetting) -> str:
    """'1.2 pu (276.0 V)', '62 Hz'."""
    value = trip.threshold
    text = f"{value.value:.4g} {value.unit}"
    return f"{text} ({value.value * code.nominal_v:.1f} V)" if value.unit == "pu" else text


def time(trip: TripSetting) -> str:
    """'0.1 s' set on a relay, 'cleared by 0.16 s', 'not before 1 s, off by 2 s'."""
    match trip.time:
        case RelaySetting(delay):
            return f"{delay.value:g} s"
        case ClearingMax(limit):
            return f"cleared by {limit.value:g} s"
        case DelayMinAndDisconnectMax(first, last):
            return (f"not before {first.value:g} s, " if first is not None else "") + f"off by {last.value:g} s"


def row(found: RideThroughRow) -> str:
    """'0.5..0.7 pu mandatory operation, at least 10 s'."""
    text = f"{found.lo.value:g}..{found.hi.value:g} {found.lo.unit} {found.mode.value.replace('_', ' ')}"
    if found.min_time_s is not None:
        text += f", at least {found.min_time_s.value:g} s"
        if found.min_time_slope_s_per_pu is not None:
            text += f" at {found.lo.value:g}, rising to {found.min_time_at(found.hi.value):.3g} s"
    if found.max_response_s is not None:
        text += f", ceased within {found.max_response_s.value:g} s"
    return text


def allowed(setting: Setting) -> str:
    """'fixed', or '1..13 s' with its confidence."""
    if setting.min is None or setting.max is None:
        return "fixed: the code gives no range"
    conf = setting.conf if setting.range_conf is None else setting.range_conf
    note = "" if conf is not Confidence.LOW else " (this range is only remembered: it needs allow_unverified)"
    return f"{setting.min:.4g}..{setting.max:.4g} {setting.unit}{note}"


def explain(code: GridCode, key: str, chain: Chain, board: str, sources: Mapping[str, str]) -> list[str]:
    """Lines in plain English for a trip element (`OV2`), any number of the code (`enter_service.delay_s`), or all of a
    section (`phase_jump`).

    sources: what each key of a number's `src` stands for. GridCodeError for a key that the code does not have.
    """
    numbers = dict(code.numbers())
    trip = next((t for t in code.trips if t.id.lower() == key.lower()), None)
    if trip is not None:
        return _explain_trip(code, trip, chain, board, sources)
    section = [name for name in numbers if name.startswith(f"{key}.")]
    if section and key not in ("trip", "ride_through"):
        lines = [f"{key} of {code.name} ({code.title})"]
        return lines + [line for name in section for line in _number(code, name, numbers[name], sources)]
    if key in numbers:
        return [f"{key} of {code.name} ({code.title})", *_number(code, key, numbers[key], sources)]
    trips = ", ".join(t.id for t in code.trips)
    raise GridCodeError(
        f"{code.name} has no element, number or section {key!r}; elements: {trips}; numbers: as in "
        f"`quadrant codes show {code.name} --json` (quote a name that holds > or <)"
    )


def _explain_trip(code: GridCode, trip: TripSetting, chain: Chain, board: str, sources: Mapping[str, str]) -> list[str]:
    beyond = "above" if trip.side is Side.OVER else "below"
    limit = threshold(code, trip)
    lines = [
        f"{trip.id} of {code.name} ({code.title})",
        f"  Trips when {_WHAT[trip.quantity]} is {beyond} {limit} for too long; a value of exactly that is inside."
        + (f" Nominal is {code.nominal_v:g} V." if trip.threshold.unit == "pu" else ""),
        f"  Time: {_meaning(trip)}",
    ]
    lines += [f"  On board {board}: {line}" for line in _arithmetic(trip, chain)]
    for name, setting in trip.numbers():
        lines += _number(code, f"trip.{trip.id}.{name}", setting, sources)
    return lines


def _meaning(trip: TripSetting) -> str:
    match trip.time:
        case RelaySetting(delay):
            return f"{delay.value:g} s is what one sets on a relay; the reaction of the chain comes on top of it."
        case ClearingMax(limit):
            return (
                f"{limit.value:g} s run from the beginning of the abnormal condition to the moment when the charger "
                "has ceased to energize, everything included."
            )
        case DelayMinAndDisconnectMax(first, last):
            not_before = f"must not trip before {first.value:g} s and " if first is not None else ""
            begin = "after the beginning of the abnormal condition"
            return f"it {not_before}must be disconnected by {last.value:g} s {begin}."


def _arithmetic(trip: TripSetting, chain: Chain) -> list[str]:
    parts = (
        f"window {chain.window_s(trip.quantity):g} + report {chain.report_period_s:g} + tick {chain.tick_s:g} + "
        f"converter off {chain.converter_off_s:g} + contactor {chain.contactor_open_s:g} s"
    )
    takes = chain.until_open_s(trip.quantity)
    lines = [f"its chain takes up to {takes:g} s ({parts})."]
    try:
        delay = internal_delay(trip, chain)
    except GridCodeError as error:
        return [*lines, f"REFUSED: {error}."]
    return [*lines, f"it waits {delay:.4g} s inside, so the contactor is open by {delay + takes:.4g} s at the latest."]


def _number(code: GridCode, key: str, setting: Setting, sources: Mapping[str, str]) -> list[str]:
    lines = [
        f"  {key} = {number(setting)}",
        f"    clause: {code.cite(setting.clause)}",
        f"    adjustable: {allowed(setting)}",
        f"    confidence: {BELIEF[setting.conf]}",
    ]
    lines += [f"    source {s}: {sources.get(s, '(not in the registry)')}" for s in setting.src]
    if setting.note:
        lines.append(f"    note: {setting.note}")
    return lines
