"""With which password and which certificate of ours the next connection is tried.

What the back end has set or had made is tried first. As long as no connection stood with it, what was there before is
kept beside it, and when a whole round of all ways failed, and somebody refused us in it, the next round goes with the
old, and so on in turns (OCPP 2.x part 2, A02.FR.28; the same for a password by our own choice). The first connection
that stands decides: the certificate that it was not made with is forgotten (A02.FR.10), and so is an old password. A
new password that was not taken stays as the second choice: whoever set it may be another than who answered (own
choice; he may take no other any more, and the charger would be lost to him).

A password counts for every way that has none of its own, until somebody changes the board's. In OCPP 1.6 it comes as
the hexadecimal form of 16 to 20 bytes (security whitepaper, 7.2); what is no such thing there is taken as it stands,
because many back ends send it so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.network import Profile, password_objection
from firmware.bridges.ocpp.outbox import Outbox

# Name in the outbox: {"now", "new", "late", "board"}. now, new: None, a text or [hexadecimal]. late: the new one was
# not taken when a connection stood, and comes second. board: digest of the board's own at that time.
KEPT = "password"
NOTHING: Mapping[str, Any] = {"now": None, "new": None, "late": False, "board": None}
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,20}")


class Credentials:
    """What one charger shows who it is by. Methods that change something raise OutboxError or KeysError."""

    def __init__(self, outbox: Outbox, keys: Keys | None = None) -> None:
        """keys: None: no certificates can be made."""
        self.keys = keys
        self._outbox = outbox
        kept = outbox.state(KEPT)
        whole = isinstance(kept, dict) and set(kept) == set(NOTHING) and isinstance(kept["late"], bool)
        self._kept: Mapping[str, Any] = kept if whole and _whole(kept["now"]) and _whole(kept["new"]) else NOTHING
        self._turned = False  # this round goes with the second choice
        self._refused = False  # in this round somebody refused us
        self.security: int | None = None  # of the way that was tried last
        self._shared = False  # it has no password of its own
        self._board: str | None = None  # digest of the board's password

    # --------------------------------------------------------------------------------------------------- the password
    def set_password(self, text: str, hexadecimal: bool) -> None:
        """The next connection is tried with it. hexadecimal: it may be (1.6). Raises ValueError with a sentence."""
        if not self._shared:
            raise ValueError("cannot be set: the way that is in use has none, or one of its own (SetNetworkProfile)")
        binary = hexadecimal and _HEX.fullmatch(text) is not None
        if why := password_objection(bytes.fromhex(text) if binary else text):
            raise ValueError(why)
        self._keep({**self._kept, "new": [text] if binary else text, "late": False, "board": self._board})
        self._turned = False

    @property
    def _old_password(self) -> bool:
        return self._kept["new"] is None or self._turned is not self._kept["late"]

    def _keep(self, kept: Mapping[str, Any]) -> None:
        self._outbox.keep(KEPT, kept)
        self._kept = kept

    # ----------------------------------------------------------------------------------------------------- a connection
    def of(self, way: Profile) -> Profile:
        """The way with what is to be tried on it now."""
        self.security = way.security
        self._shared = way.security in (1, 2) and not way.own_password
        if self._shared:
            self._board = _digest(way.password)
            if self._kept["board"] not in (None, self._board):  # somebody wrote another one into the board's file
                self._kept = NOTHING
            kept = self._kept["now" if self._old_password else "new"]
            return way if kept is None else replace(way, password=_password(kept))
        return self.certified(way) if way.security == 3 else way

    def certified(self, way: Profile) -> Profile:
        """The way with our certificate, whether it needs one or not; the board's where there is no other."""
        file = None if self.keys is None else (None if self._turned else self.keys.new) or self.keys.used
        return way if file is None else replace(way, cert_file=file, key_file=file)

    def failed(self, refused: bool, round_over: bool) -> None:
        """No connection stood. refused: somebody was there, and it may be that he does not believe us. round_over: all
        ways were tried."""
        self._refused |= refused
        if round_over:
            self._turned = not self._turned if self._refused else self._turned
            self._refused = False

    def stood(self) -> str:
        """A connection stood with what `of` gave: that is what counts from now on. What became of something new: "taken
        password", "dropped certificate", ...; empty: nothing new was tried, or it is known."""
        old_password, turned = self._old_password, self._turned
        self._turned = self._refused = False
        if self._shared and self._kept["new"] is not None:
            if not old_password:
                self._keep({**self._kept, "now": self._kept["new"], "new": None, "late": False})
                return "taken password"
            if not self._kept["late"]:
                self._keep({**self._kept, "late": True})
                return "dropped password"
        if self.security == 3 and self.keys is not None and self.keys.new is not None:
            self.keys.settle(not turned)
            return "dropped certificate" if turned else "taken certificate"
        return ""


def _whole(kept: object) -> bool:
    """Whether it is a password as it is kept."""
    match kept:
        case None:
            return True
        case str():
            return not password_objection(kept)
        case [str(text)]:
            return _HEX.fullmatch(text) is not None
    return False


def _digest(password: str | bytes) -> str:
    return hashlib.sha256(password.encode() if isinstance(password, str) else password).hexdigest()


def _password(kept: Any) -> str | bytes:
    return kept if isinstance(kept, str) else bytes.fromhex(kept[0])
