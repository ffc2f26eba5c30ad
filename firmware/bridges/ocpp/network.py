"""Where the back end is, when to try again, and which of several places comes next. Pure: rng and results are given.

Back-off: OCPP 2.x part 4 section 5.3, as libocpp implements it: the first wait is waitMinimum plus a random part of at
most randomRange; each further one is twice the one before plus a new random part, `repeatTimes` times; then it stays.
The random part keeps a city's chargers from coming back in the same second after the back end was away.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

WAIT_MINIMUM_S = 10.0  # policy values, within what back ends commonly set
RANDOM_RANGE_S = 10.0
REPEAT_TIMES = 5
ATTEMPTS = 3  # NetworkProfileConnectionAttempts; libocpp's default
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"  # of OpenSSL; transport.py says why
# The characters of identifierString (OCPP 2.x part 2, appendix), and the length of part 4 section 3.1.1.
IDENTITY = re.compile(r"[A-Za-z0-9*_=:+|@.\-]{1,48}")


class NetworkError(Exception):
    """A profile that cannot be used. One sentence."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to the back end. security: 0 none, 1 password, 2 password and TLS, 3 client certificate and TLS."""

    url: str  # without the identity
    identity: str
    security: int
    password: str | bytes = ""  # bytes: of OCPP 1.6, which sends them in hexadecimal form
    ca_file: Path | None = None  # roots that are believed; there are no others
    cert_file: Path | None = None
    key_file: Path | None = None
    more_roots: str = ""  # PEM of roots that are believed beside those of ca_file
    message_timeout_s: float | None = None  # for how long an answer is awaited on this way; None: as everywhere
    own_password: bool = False  # the password is this way's alone

    def __repr__(self) -> str:
        return f"Profile({self.url!r}, {self.identity!r}, security={self.security})"  # never the password

    @property
    def uri(self) -> str:
        """The address of the WebSocket."""
        return f"{self.url.rstrip('/')}/{quote(self.identity, safe='')}"

    def headers(self) -> dict[str, str]:
        """HTTP Basic authentication where the profile has it (user = identity)."""
        if self.security not in (1, 2):
            return {}
        password = self.password.encode() if isinstance(self.password, str) else self.password
        token = base64.b64encode(self.identity.encode() + b":" + password).decode()
        return {"Authorization": f"Basic {token}"}


def password_objection(password: str | bytes) -> str:
    """Why this cannot be a password; empty: it can. 2.0.1: 16 to 40 characters; 2.1: at most 64. Longer than 40 would
    not work with 2.0.1. 1.6: 16 to 20 bytes."""
    if isinstance(password, bytes):
        return "" if 16 <= len(password) <= 20 else "must have 16 to 20 bytes"
    return "" if 16 <= len(password) <= 40 and password.isprintable() else "must have 16 to 40 printable characters"


def check(profile: Profile) -> None:
    """Raises NetworkError when the parts of a profile do not fit one another."""
    try:
        parts = urlsplit(profile.url)
        _ = parts.port
    except ValueError:
        raise NetworkError(f"The back end's address {profile.url[:60]!r} cannot be understood.") from None
    if any(c.isspace() or not c.isprintable() for c in profile.url):
        raise NetworkError("The back end's address may hold no blanks.")
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise NetworkError(f"The back end's address {profile.url!r} must begin with ws:// or wss:// and name a host.")
    if parts.username is not None or parts.query or parts.fragment:
        raise NetworkError(f"The back end's address {parts.hostname} may hold no user, query or fragment.")
    if not IDENTITY.fullmatch(profile.identity):
        raise NetworkError(f"The identity {profile.identity!r} must be 1 to 48 letters, digits or * - _ = : + | @ .")
    tls = profile.security >= 2
    if tls is not (parts.scheme == "wss"):
        raise NetworkError(f"Security profile {profile.security} goes with {'wss' if tls else 'ws'}://.")
    if profile.security in (1, 2):
        if ":" in profile.identity:
            raise NetworkError("An identity with a colon cannot be a user name of HTTP Basic authentication.")
        if why := password_objection(profile.password):
            raise NetworkError(f"The password {why}.")
    elif profile.password:
        raise NetworkError(f"Security profile {profile.security} has no password.")
    if profile.security == 0 and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise NetworkError("Security profile 0 (none) is for the loopback of a desk only.")
    if tls and profile.ca_file is None:
        raise NetworkError(f"Security profile {profile.security} needs ca_file: the back end's root certificate.")
    if (profile.security == 3) is not (profile.cert_file is not None and profile.key_file is not None):
        raise NetworkError("cert_file and key_file go with security profile 3, and only with it.")


def downgrade(active: int, wanted: int) -> bool:
    """Whether a profile of security `wanted` must be refused (NoSecurityDowngrade: B09.FR.31)."""
    return wanted < active


class Backoff:
    """How long to wait before the next try."""

    def __init__(
        self,
        rng: random.Random,
        minimum_s: float = WAIT_MINIMUM_S,
        range_s: float = RANDOM_RANGE_S,
        repeat: int = REPEAT_TIMES,
    ) -> None:
        self._rng = rng
        self._minimum_s, self._range_s, self._repeat = minimum_s, range_s, repeat
        self._waits = 0
        self._last_s = 0.0

    def next_s(self) -> float:
        """The wait before the next try (s)."""
        if self._waits == 0:
            self._last_s = self._minimum_s + self._rng.uniform(0.0, self._range_s)
        elif self._waits <= self._repeat:
            self._last_s = 2.0 * self._last_s + self._rng.uniform(0.0, self._range_s)
        self._waits += 1
        return self._last_s

    def reset(self) -> None:
        """A connection stood: the next wait is short again."""
        self._waits = 0


class Ways:
    """The profiles by priority; after `attempts` failures in a row the next one is tried, after the last the first."""

    def __init__(self, profiles: Sequence[Profile], attempts: int = ATTEMPTS, floor: int | None = None) -> None:
        """floor: the least security of any of them; None: the first's. Raises NetworkError: no profile, one that cannot
        be used, or a fall-back that is less secure."""
        if not profiles:
            raise NetworkError("There is no way to the back end.")
        least = profiles[0].security if floor is None else floor
        for profile in profiles:
            check(profile)
            if downgrade(least, profile.security):
                raise NetworkError(
                    f"The fall-back {profile.url} has security profile {profile.security}, below "
                    f"{least} of the first: whoever disturbs the first could listen to the second."
                )
        self.profiles = tuple(profiles)
        self.attempts = attempts
        self._now = 0
        self._failures = 0

    @property
    def current(self) -> Profile:
        """The profile to be tried now."""
        return self.profiles[self._now]

    def failed(self) -> bool:
        """A try failed; whether all were tried now, and it begins anew."""
        self._failures += 1
        if self._failures < self.attempts:
            return False
        self._failures = 0
        self._now = (self._now + 1) % len(self.profiles)
        return self._now == 0

    def stood(self) -> None:
        """A try worked."""
        self._failures = 0
