"""Two small bookkeepers of the BEG driver: one supervised write, and the reads that are under way."""

from __future__ import annotations

from collections import deque

ECHO_TIMEOUT_S = 0.1  # an honest module answers in a few ms; a queue of 30 frames before it takes 40 ms
REFRESH_S = 1.0  # an unchanged set-point is written again so often
MAX_TRIES = 5
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
        asked = self._asked.setdefault(selector, deque(maxlen=_IN_FLIGHT))
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
