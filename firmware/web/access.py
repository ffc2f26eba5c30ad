"""Who may do what: roles, passwords, sessions. Pure but for the password file; the time is given.

A password is kept as its scrypt hash in `web_passwords.json` of the run directory (mode 0600). While there is no
password nobody can log in: then an emulated board is open to everybody on its loopback, and a real one shows itself
there and obeys nobody.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

FILE = "web_passwords.json"
MIN_CHARS, MAX_CHARS = 8, 200  # of a password; the least is a policy value (NIST SP 800-63B, 3.1.1.2: at least 8)
# scrypt: 16 MiB and some 50 ms a try. N and r as RFC 7914, section 2, was written for interactive logins in 2016; more
# memory would not fit beside everything else on a small SoM.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1
IDLE_S = 3600.0  # a session ends after an hour without a request; policy value
LONGEST_S = 12 * 3600.0  # and after a shift in any case; policy value
MAX_SESSIONS = 50
FREE_TRIES = 5  # wrong passwords in a row before one has to wait; policy value
MAX_WAIT_S = 60.0


class Role(enum.IntEnum):
    """Each may do all that the one before may."""

    VIEWER = 1  # sees everything, changes nothing
    OPERATOR = 2  # power, stop, start
    SERVICE = 3  # parameters, latched faults, and faults of an emulated rig


ROLES = {role.name.lower(): role for role in Role}


class PasswordError(ValueError):
    """A password, a role or the password file cannot be used. One sentence."""


@dataclass(frozen=True, slots=True)
class Hash:
    """A password as it is kept."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str, salt: bytes | None = None) -> Hash:
        salt = secrets.token_bytes(16) if salt is None else salt
        return cls(salt, _scrypt(password, salt))

    def fits(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, maxmem=64 * 1024 * 1024, dklen=32
    )


def load_passwords(run_dir: Path) -> dict[Role, Hash]:
    """What is set; empty when nothing is. Raises PasswordError when the file cannot be read or understood: then
    nobody is let in, rather than everybody."""
    path = run_dir / FILE
    try:
        raw = json.loads(path.read_bytes())
        return {ROLES[name]: Hash(bytes.fromhex(h["salt"]), bytes.fromhex(h["scrypt"])) for name, h in raw.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PasswordError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PasswordError(f"{path} is damaged; set the passwords again with `quadrant web password`.") from None


def save_password(run_dir: Path, role: Role, password: str | None) -> None:
    """Set a role's password, or remove it (None). Raises PasswordError and then nothing has changed."""
    if password is not None and not (MIN_CHARS <= len(password) <= MAX_CHARS and password.isprintable()):
        raise PasswordError(f"A password has {MIN_CHARS} to {MAX_CHARS} printable characters.")
    try:
        hashes = load_passwords(run_dir)
    except PasswordError:
        if password is None:
            raise
        hashes = {}  # a damaged file locks everybody out: setting one is the way back in
    if password is None:
        if role not in hashes:
            raise PasswordError(f"There is no password of {role.name.lower()}.")
        del hashes[role]
    else:
        hashes[role] = Hash.of(password)
    plain = {r.name.lower(): {"salt": h.salt.hex(), "scrypt": h.digest.hex()} for r, h in hashes.items()}
    path, part = run_dir / FILE, run_dir / f"{FILE}.part"
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(plain, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise PasswordError(f"{path} cannot be written: {error.strerror}.") from None


@dataclass(slots=True)
class Session:
    role: Role
    token: str  # every command must carry it; a page of another origin cannot read it
    began_s: float
    used_s: float

    def over(self, now_s: float) -> bool:
        return now_s - self.used_s > IDLE_S or now_s - self.began_s > LONGEST_S


class Sessions:
    """Who is logged in. In memory only: when the screen is started again, everybody logs in again."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def begin(self, role: Role, now_s: float) -> str:
        """The secret of a new session, for a cookie."""
        self._sessions = {key: s for key, s in self._sessions.items() if not s.over(now_s)}
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.pop(min(self._sessions, key=lambda key: self._sessions[key].used_s))
        secret = secrets.token_urlsafe(32)
        self._sessions[secret] = Session(role, secrets.token_urlsafe(32), now_s, now_s)
        return secret

    def find(self, secret: str | None, now_s: float, *, use: bool = True) -> Session | None:
        """use: this is somebody's doing, so the session lives on; a stream that runs by itself is not."""
        session = self._sessions.get(secret) if secret else None
        if session is None or session.over(now_s):
            return None
        if use:
            session.used_s = now_s
        return session

    def end(self, secret: str | None) -> None:
        self._sessions.pop(secret or "", None)

    def end_all(self) -> None:
        self._sessions.clear()


class Patience:
    """Slows down whoever tries passwords, for all clients together: a door that is hammered on opens slower."""

    def __init__(self) -> None:
        self._wrong = 0
        self._until_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until the next try is heard."""
        return max(0.0, self._until_s - now_s)

    def wrong(self, now_s: float) -> None:
        self._wrong += 1
        if self._wrong >= FREE_TRIES:
            self._until_s = now_s + min(2.0 ** (self._wrong - FREE_TRIES), MAX_WAIT_S)

    def right(self) -> None:
        self._wrong = 0
