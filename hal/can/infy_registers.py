"""Bookkeepers of the BEG driver: a supervised write, the reads under way, and the queue of reads to send."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

from hal.can.infy_plan import MODE, STATUS, PollPlan

ECHO_TIMEOUT_S = 0.1  # an honest module answers in a few ms; a queue of 30 frames before it takes 40 ms
REFRESH_S = 1.0  # an unchanged set-point is written again so often
MAX_TRIES = 5
PROBE_S = 0.2  # an absent module is asked so often, and so are unanswered reads of the read-out
_IN_FLIGHT = 16


class Register:
    """One selector that is written: what was sent, what was echoed, how often in vain. Payloads are compared whole."""

    __slots__ = ("_sent", "acked", "acked_t", "failed", "last")

    def __init__(self) -> None:
        self._sent: deque[tuple[bytes, float]] = deque(maxlen=_IN_FLIGHT)
        self.forget()

    def forget(self) -> None:
        """Nothing is known of what the module holds."""
        self._sent.clear()
        self.acked: bytes | None = None
        self.acked_t = 0.0
        self.failed = 0
        self.last: bytes | None = None

    def due(self, now: float, payload: bytes) -> bool:
        """True when `payload` must be written now: it is new, or its echo is overdue, or it is due for a refresh."""
        if self._sent and now - self._sent[0][1] > ECHO_TIMEOUT_S:
            self._sent.clear()
            self.failed += 1
        if self._sent:
            return self._sent[-1][0] != payload
        return self.acked != payload or now - self.acked_t >= REFRESH_S

    def holds(self, payload: bytes) -> bool:
        """True when the module's last echo was `payload` and nothing else has been sent since."""
        return self.acked == payload and self.last == payload

    def sent(self, now: float, payload: bytes) -> None:
        self._sent.append((payload, now))
        self.last = payload

    def echo(self, now: float, payload: bytes) -> bool:
        """An echo without error bits. False: this was never asked for, or long ago; it changes nothing."""
        for n, (sent, _) in enumerate(self._sent):
            if sent == payload:
                for _ in range(n + 1):
                    self._sent.popleft()
                self.acked, self.acked_t, self.failed = payload, now, 0
                return True
        return False

    @property
    def unconfirmed(self) -> bool:
        """True when MAX_TRIES writes in a row were not echoed."""
        return self.failed >= MAX_TRIES


class Outstanding:
    """Which reads wait for an answer, and whether two modules answer one read."""

    EXPIRE_S = 2.0  # an answer later than this belongs to nobody
    CLASH_WINDOW_S = 5.0
    CLASH_COUNT = 3  # a controller may see one frame twice when its last bit is disturbed; two modules do it always

    def __init__(self) -> None:
        self._asked: dict[int, deque[float]] = {}
        self._last: dict[int, tuple[bytes, float]] = {}
        self._clashes: deque[float] = deque(maxlen=self.CLASH_COUNT)

    def forget(self) -> None:
        self._asked.clear()
        self._last.clear()

    def ask(self, now: float, selector: int) -> None:
        asked = self._asked.get(selector)
        if asked is None:
            asked = self._asked[selector] = deque(maxlen=_IN_FLIGHT)
        while asked and now - asked[0] > self.EXPIRE_S:
            asked.popleft()
        asked.append(now)

    def waiting(self, now: float, selector: int, within_s: float) -> bool:
        """True when an answer to a read of the last `within_s` seconds is still to come."""
        asked = self._asked.get(selector)
        return bool(asked) and asked is not None and now - asked[-1] <= within_s

    def answer(self, now: float, selector: int, payload: bytes) -> None:
        asked = self._asked.get(selector)
        last = self._last.get(selector)
        if asked:
            asked.popleft()
        elif last is not None and last[0] != payload and now - last[1] < 0.5:
            self._clashes.append(now)  # a second, different answer to one question
        self._last[selector] = (payload, now)

    def clash(self, now: float) -> bool:
        full = len(self._clashes) == self.CLASH_COUNT
        return full and now - self._clashes[0] <= self.CLASH_WINDOW_S


class Poller:
    """Which read goes next: what is missing of a read-out, then what the plan says is due. Each once in the queue."""

    def __init__(self, plan: PollPlan) -> None:
        self.outstanding = Outstanding()
        self.missing: dict[int, float] = {}  # read-out: selector -> when it was asked last
        self._plan = plan
        self._queue: deque[int] = deque()
        self._next: list[float] | None = None
        self._soonest = -math.inf  # of `_next`

    def read_out(self, selectors: tuple[int, ...]) -> None:
        """Ask for all of these until each was answered."""
        self.missing = dict.fromkeys(selectors, -math.inf)

    def first(self, now: float, selector: int) -> None:
        """Ask before everything else, unless it has just been asked."""
        if selector not in self._queue and not self.outstanding.waiting(now, selector, 0.03):
            self._queue.appendleft(selector)

    def due(self, now: float, online: bool, confirming: bool) -> Collection[str]:
        """Fill the queue; the names of the plan's groups that begin now. An absent module is asked for its status
        only; while a mode is being confirmed, the plan's own reads of it would blur which answer belongs to what."""
        if not online:
            self._queue.clear()
            if not self.outstanding.waiting(now, STATUS, PROBE_S):
                self._queue.append(STATUS)
            return ()
        for selector, asked in self.missing.items():
            if now - asked >= PROBE_S and selector not in self._queue:
                self.missing[selector] = now
                self._queue.append(selector)
        if now < self._soonest:
            return ()
        groups = self._plan.groups
        if self._next is None:  # spread, so that groups of one rate do not fall due together
            self._next = [now + n / (len(groups) * group.rate_hz) for n, group in enumerate(groups)]
        begun: list[str] = []
        for n, group in enumerate(groups):
            if now < self._next[n]:
                continue
            self._next[n] = max(self._next[n] + 1.0 / group.rate_hz, now)  # late: skip, never catch up
            begun.append(group.name)
            for selector in group.selectors:
                if selector not in self._queue and not (selector == MODE and confirming):
                    self._queue.append(selector)
        self._soonest = min(self._next)
        return begun

    def take(self, now: float) -> int | None:
        """The next read to send."""
        if not self._queue:
            return None
        selector = self._queue.popleft()
        self.outstanding.ask(now, selector)
        return selector
