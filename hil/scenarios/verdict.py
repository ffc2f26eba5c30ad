"""What must hold, and whether it did: pure functions of a capture.

Every measured instant and value is an interval, as wide as the recorder's declared accuracy and sample period make
it. A limit outside of the interval decides (PASS or FAIL); a limit inside of it does not (INCONCLUSIVE). What cannot
be judged because the recording lacks it is an ERROR of the rig, never a FAIL of the charger.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hil.bench.capture import Capture, CaptureError
from hil.scenarios import follow, kept
from hil.scenarios.follow import Follow

STILL_A = 0.5  # A; a current below it is none (a real bench's clamps see less than this only with effort)
CURRENTS = ("ac_a", "dc_a")
START = "start"


class Verdict(enum.Enum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


_WORST = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A rig that failed to look has proven nothing, so ERROR outweighs FAIL; nothing to judge is an ERROR."""
    return next((v for v in _WORST if v in verdicts), Verdict.ERROR)


@dataclass(frozen=True, slots=True)
class Band:
    """A range of values of one channel: low <= x <= high (either may be infinite)."""

    channel: str
    low: float = -math.inf
    high: float = math.inf
    magnitude: bool = False  # of |x|

    def __str__(self) -> str:
        name = f"|{self.channel}|" if self.magnitude else self.channel
        if math.isinf(self.low):
            return f"{name} <= {self.high:g}"
        if math.isinf(self.high):
            return f"{name} >= {self.low:g}"
        return f"{self.low:g} <= {name} <= {self.high:g}"

    def outside(self, x: float) -> float:
        """How far x is outside (negative: inside, by so much)."""
        y = abs(x) if self.magnitude else x
        return max(self.low - y, y - self.high)


@dataclass(frozen=True, slots=True)
class Instant:
    """The first sample from `after` (+ not_before_s) on at which the channel is in the band."""

    name: str
    band: Band
    after: str = START
    not_before_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Must:
    """One thing that must hold. Which fields count depends on `kind`; see `_KINDS` and docs/scenarios.md."""

    kind: str
    because: str  # clause and source of the number, or "policy value"
    after: str = START
    band: Band | None = None
    within_s: float | None = None
    not_before_s: float | None = None
    from_s: float = 0.0
    until_s: float | None = None
    stays: bool = False
    state: str = ""
    code: str = ""
    detail: str = ""
    at_least: int = 1
    at_most: int | None = None
    codes: tuple[str, ...] = ()
    follow: Follow | None = None
    cleared: bool = False  # of a recorded event: its end, not its beginning
    share: float = 0.0  # of what flowed, that the registers may be off
    off_wh: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    what: str  # the demand in words
    found: str  # what the capture shows
    because: str = ""


Judged = tuple[Verdict, str]


def instants(capture: Capture, defined: Sequence[Instant]) -> dict[str, float]:
    """The times (s on the capture's clock) of all instants. Raises CaptureError when one is not in the recording."""
    if not capture.t:
        raise CaptureError("the recording is empty")
    found = {START: capture.t[0]}
    for instant in defined:
        begin = found[instant.after] + instant.not_before_s
        column = capture.column(instant.band.channel)
        for t, x in zip(capture.t, column, strict=True):
            if t >= begin - 1e-9 and instant.band.outside(x) <= 0.0:
                found[instant.name] = t
                break
        else:
            raise CaptureError(
                f"{instant.name} ({instant.band} after {instant.after}) is not in the recording: the rig did not "
                "play what was asked"
            )
    return found


def judge(capture: Capture, musts: Sequence[Must], defined: Sequence[Instant]) -> list[Outcome]:
    """One outcome per demand."""
    try:
        times = instants(capture, defined)
    except CaptureError as error:
        return [Outcome(Verdict.ERROR, "the disturbance is recorded", str(error))]
    outcomes = []
    for must in musts:
        try:
            verdict, found = _KINDS[must.kind](capture, must, times[must.after])
        except CaptureError as error:
            verdict, found = Verdict.ERROR, str(error)
        outcomes.append(Outcome(verdict, describe(must), found, must.because))
    return outcomes


def describe(m: Must) -> str:
    """The demand as a sentence."""
    of = "" if m.after == START else f" of {m.after}"
    window = f"from {m.from_s:g} s" + ("" if m.until_s is None else f" to {m.until_s:g} s") + f" after {m.after}"
    early = "" if m.not_before_s is None else f", not before {m.not_before_s:g} s"
    late = "" if m.within_s is None else f" within {m.within_s:g} s{of}"
    match m.kind:
        case "ceases":
            return f"current ceases{late}{early}"
        case "reaches":
            return f"{m.band}{late}{early}{' and stays' if m.stays else ''}"
        case "always":
            return f"always {m.band}, {window}"
        case "never":
            return f"never {m.band}, {window}"
        case "state":
            return f"state {m.state!r}{late}{early}"
        case "never_state":
            return f"never in state {m.state!r}, {window}"
        case "follows":
            return f"{m.follow}, mean {window}"
        case "order":
            return f"events in this order: {', '.join(m.codes)}"
        case "booked":
            return f"the registers hold what flowed within {100.0 * m.share:g} % and {m.off_wh:g} Wh"
    count = f"exactly {m.at_least}" if m.at_most == m.at_least else f"at least {m.at_least}"
    if m.at_most is not None and m.at_most != m.at_least:
        count = f"{m.at_least} to {m.at_most}"
    what = "no event" if m.at_most == 0 else f"{count} x event"
    if m.kind == "recorded":
        what = f"in the records {what}{' (over)' if m.cleared else ''}"
    return f"{what} {m.code}{f' with {m.detail!r}' if m.detail else ''}{late}{early}"


# ------------------------------------------------------------------------------------------------------------ helpers
def _timed(earliest_s: float, latest_s: float, m: Must) -> Judged:
    """An instant that lies between these two, s after the reference, against within_s and not_before_s."""
    found = f"{0.5 * (earliest_s + latest_s):.4f} s (+/- {0.5 * (latest_s - earliest_s):.4f})"
    low = -math.inf if m.not_before_s is None else m.not_before_s
    high = math.inf if m.within_s is None else m.within_s
    if earliest_s > high or latest_s < low:
        return Verdict.FAIL, found
    if latest_s > high or earliest_s < low:
        return Verdict.INCONCLUSIVE, f"{found}: the limit lies inside of the uncertainty"
    return Verdict.PASS, found


def _window(capture: Capture, m: Must, t0: float) -> tuple[list[int], bool]:
    """Indices of the samples in from_s..until_s after t0, and whether the recording covers all of it."""
    begin = t0 + m.from_s
    end = capture.t[-1] if m.until_s is None else t0 + m.until_s
    inside = [k for k, t in enumerate(capture.t) if begin - 1e-9 <= t <= end + 1e-9]
    return inside, capture.t[-1] >= end - capture.period_s and bool(inside)


def _short(capture: Capture, t0: float) -> Judged:
    return Verdict.INCONCLUSIVE, f"the recording ends {capture.t[-1] - t0:.3f} s after the reference: too early to tell"


# -------------------------------------------------------------------------------------------------------------- kinds
def _ceases(capture: Capture, m: Must, t0: float) -> Judged:
    """No current at the PCC and at the DC terminals any more, until until_s (or the end)."""
    inside, _ = _window(capture, m, t0)
    if not inside:
        return _short(capture, t0)
    after = [0.0, 0.0]  # last moment with current, for the threshold a little higher and a little lower
    for name in CURRENTS:
        column, accuracy = capture.column(name), capture.channels[name].accuracy
        for n, threshold in enumerate((STILL_A + accuracy, STILL_A - accuracy)):
            last = max((capture.t[k] for k in inside if abs(column[k]) > threshold), default=t0)
            after[n] = max(after[n], last - t0)
    end = capture.t[inside[-1]] - t0
    u = capture.time_uncertainty_s
    if after[0] > end - capture.period_s:
        if m.within_s is not None and end < m.within_s:
            return _short(capture, t0)
        return Verdict.FAIL, f"current still flows {end:.3f} s after {m.after}"
    return _timed(after[0] - u, after[1] + u, m)


def _reaches(capture: Capture, m: Must, t0: float) -> Judged:
    assert m.band is not None
    band, column = m.band, capture.column(m.band.channel)
    accuracy = capture.channels[band.channel].accuracy
    inside, _ = _window(capture, m, t0)
    if not inside:
        return _short(capture, t0)
    u = capture.time_uncertainty_s
    times: list[float | None] = []
    for slack in (accuracy, -accuracy):  # surely not before; surely by then
        hit: float | None = None
        for k in inside:
            if band.outside(column[k]) <= slack:
                hit = capture.t[k] if hit is None else hit
            elif m.stays:
                hit = None
        times.append(hit)
    first, last = times
    end = capture.t[inside[-1]] - t0
    if first is None:
        if m.within_s is None or end >= m.within_s:
            return Verdict.FAIL, f"not reached in {end:.3f} s; at the end {column[inside[-1]]:.4g}"
        return _short(capture, t0)
    if last is None:
        return Verdict.INCONCLUSIVE, f"only nearly reached: inside of the accuracy of {accuracy:g}"
    return _timed(first - t0 - u, last - t0 + u, m)


def _always(capture: Capture, m: Must, t0: float) -> Judged:
    assert m.band is not None
    band, column = m.band, capture.column(m.band.channel)
    accuracy = capture.channels[band.channel].accuracy
    inside, covered = _window(capture, m, t0)
    if not inside:
        return _short(capture, t0)
    k = max(inside, key=lambda i: band.outside(column[i]))
    far = band.outside(column[k])
    found = f"furthest {column[k]:.4g} at {capture.t[k] - t0:+.3f} s"
    if far > accuracy:
        return Verdict.FAIL, found
    if accuracy > 0.0 and far > -accuracy:
        return Verdict.INCONCLUSIVE, f"{found}: nearer to the limit than the accuracy of {accuracy:g}"
    return (Verdict.PASS, found) if covered else _short(capture, t0)


def _never(capture: Capture, m: Must, t0: float) -> Judged:
    assert m.band is not None
    band, column = m.band, capture.column(m.band.channel)
    accuracy = capture.channels[band.channel].accuracy
    inside, covered = _window(capture, m, t0)
    if not inside:
        return _short(capture, t0)
    k = min(inside, key=lambda i: band.outside(column[i]))
    far = band.outside(column[k])
    found = f"nearest {column[k]:.4g} at {capture.t[k] - t0:+.3f} s"
    if far <= -accuracy:
        return Verdict.FAIL, found
    if far < accuracy:
        return Verdict.INCONCLUSIVE, f"{found}: nearer to the limit than the accuracy of {accuracy:g}"
    return (Verdict.PASS, found) if covered else _short(capture, t0)


def _mean(capture: Capture, channel: str, begin: float, end: float) -> float | None:
    """Of the samples between two times; None without any."""
    column = capture.column(channel)
    inside = [x for t, x in zip(capture.t, column, strict=True) if begin - 1e-9 <= t <= end + 1e-9]
    return sum(inside) / len(inside) if inside else None


def follow_means(capture: Capture, m: Must, t0: float) -> tuple[float, float, float]:
    """Means of x and y in the window of a `follows`, and of y before its instant. Raises CaptureError without any."""
    assert m.follow is not None
    f = m.follow
    inside, _ = _window(capture, m, t0)
    if not inside:
        raise CaptureError(f"nothing was recorded from {m.from_s:g} s after {m.after} on")
    begin, end = capture.t[inside[0]], capture.t[inside[-1]]
    x, y = _mean(capture, f.x, begin, end), _mean(capture, f.y, begin, end)
    before = _mean(capture, f.y, t0 - f.before_s, t0 - capture.period_s)
    if before is None and f.share < 1.0:
        raise CaptureError(f"nothing was recorded before {m.after}, where {f.y} came from")
    assert x is not None
    assert y is not None
    return x, y, before or 0.0


def _follows(capture: Capture, m: Must, t0: float) -> Judged:
    assert m.follow is not None
    f = m.follow
    inside, covered = _window(capture, m, t0)
    if not inside or not covered:
        return _short(capture, t0)
    x, y, before = follow_means(capture, m, t0)
    slack = capture.channels[f.x].accuracy, capture.channels[f.y].accuracy
    verdicts = []
    for sign in (1.0, -1.0):  # with the accuracies in its favour, and against it
        low, high = follow.band(f, x, before, sign * slack[0], sign * slack[1])
        verdicts.append(low <= y <= high)
    low, high = follow.band(f, x, before)
    found = f"{y:.5g} at {x:.5g}, between {low:.5g} and {high:.5g} asked for"
    if not verdicts[0]:
        return Verdict.FAIL, found
    return (Verdict.PASS, found) if verdicts[1] else (Verdict.INCONCLUSIVE, f"{found}: inside of the accuracies")


def _entries(capture: Capture, state: str) -> list[float]:
    return [e.t for e in capture.events if e.code == "state" and not e.cleared and e.detail == state]


def _state(capture: Capture, m: Must, t0: float) -> Judged:
    hits = [t for t in _entries(capture, m.state) if t >= t0 - 1e-9]
    if hits:
        u = capture.time_uncertainty_s
        return _timed(hits[0] - t0 - u, hits[0] - t0 + u, m)
    end = capture.t[-1] - t0
    if m.within_s is not None and end < m.within_s:
        return _short(capture, t0)
    seen = [e.detail for e in capture.events if e.code == "state" and e.t >= t0]
    return Verdict.FAIL, f"not entered in {end:.3f} s; entered were {', '.join(seen) or 'none'}"


def _never_state(capture: Capture, m: Must, t0: float) -> Judged:
    end = math.inf if m.until_s is None else t0 + m.until_s
    hits = [t for t in _entries(capture, m.state) if t0 + m.from_s <= t <= end]
    if hits:
        return Verdict.FAIL, f"entered {hits[0] - t0:.3f} s after {m.after}"
    if m.until_s is not None and capture.t[-1] < end - capture.period_s:
        return _short(capture, t0)
    return Verdict.PASS, "not entered"


def _event(capture: Capture, m: Must, t0: float) -> Judged:
    """Count and, for the first one, time. Events before t0 + from_s do not count."""
    end = math.inf if m.until_s is None else t0 + m.until_s
    hits = [
        e
        for e in capture.events
        if e.code == m.code and not e.cleared and m.detail in e.detail and t0 + m.from_s - 1e-9 <= e.t <= end
    ]
    recorded = capture.t[-1] - t0
    if m.at_most is not None and len(hits) > m.at_most:
        return Verdict.FAIL, f"{len(hits)} x, the last {hits[-1].t - t0:.3f} s after {m.after}: {hits[-1].detail}"
    if len(hits) < m.at_least:
        if m.within_s is not None and recorded < m.within_s:
            return _short(capture, t0)
        told = sorted({e.code for e in capture.events if e.t >= t0 and e.code != "state"})
        return Verdict.FAIL, f"{len(hits)} x in {recorded:.3f} s; told were {', '.join(told) or 'no events'}"
    if not hits or (m.within_s is None and m.not_before_s is None):
        return Verdict.PASS, f"{len(hits)} x" + (f", first {hits[0].t - t0:.3f} s after {m.after}" if hits else "")
    u = capture.time_uncertainty_s
    return _timed(hits[0].t - t0 - u, hits[0].t - t0 + u, m)


def _order(capture: Capture, m: Must, t0: float) -> Judged:
    """The codes as a subsequence of what was told (state:NAME stands for entering a state)."""
    told = [
        f"state:{e.detail}" if e.code == "state" else e.code
        for e in capture.events
        if e.t >= t0 - 1e-9 and not e.cleared
    ]
    position = 0
    for code in m.codes:
        try:
            position = told.index(code, position) + 1
        except ValueError:
            return Verdict.FAIL, f"{code} did not come in its turn; told were {', '.join(told) or 'no events'}"
    return Verdict.PASS, "in this order"


def _recorded(capture: Capture, m: Must, t0: float) -> Judged:
    span_s = (t0 + m.from_s, math.inf if m.until_s is None else t0 + m.until_s)
    good, found = kept.recorded(capture, m.code, m.detail, m.cleared, (m.at_least, m.at_most), span_s)
    return (Verdict.PASS if good else Verdict.FAIL), found


def _booked(capture: Capture, m: Must, t0: float) -> Judged:
    good, found = kept.booked(capture, m.share, m.off_wh)
    return (Verdict.PASS if good else Verdict.FAIL), found


_KINDS: Mapping[str, Callable[[Capture, Must, float], Judged]] = {
    "ceases": _ceases,
    "reaches": _reaches,
    "always": _always,
    "never": _never,
    "follows": _follows,
    "state": _state,
    "never_state": _never_state,
    "event": _event,
    "order": _order,
    "recorded": _recorded,
    "booked": _booked,
}
KINDS = tuple(_KINDS)
