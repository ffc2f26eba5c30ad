"""With which password and which certificate of ours the next connection is tried.

What the back end has set or had made is tried first. As long as no connection stood with it, what was there before is
kept beside it, and when a whole round of all ways failed, and somebody refused us in it, the next round goes with the
old, and so on in turns (OCPP 2.x part 2, A02.FR.28; the same for a password by our own choice). The first connection
that stands decides: what it was not made with is forgotten (A02.FR.10).

A password counts for every way that has none of its own. In OCPP 1.6 it comes as the hexadecimal form of 16 to 20 bytes
(security whitepaper, 7.2); what is no such thing there is taken as it stands, because many back ends send it so.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.network import Profile, password_objection
from firmware.bridges.ocpp.outbox import Outbox

KEPT = "password"  # name in the outbox: {"now", "new"}, each None, a text or [hexadecimal]

_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,20}")


class Credentials:
    """What one charger shows who it is by. Methods that change something raise OutboxError or KeysError."""

    def __init__(self, outbox: Outbox, keys: Keys | None = None) -> None:
        """keys: None: no certificates can be made."""
        self.keys = keys
        self._outbox = outbox
        kept = outbox.state(KEPT)
        whole = isinstance(kept, dict) and set(kept) == {"now", "new"} and all(map(_whole, kept.values()))
        self._kept: dict[str, Any] = kept if whole else {"now": None, "new": None}
        self._back = False  # this round goes with what was there before
        self._refused = False  # in this round somebody refused us
        self.security: int | None = None  # of the way that was tried last
        self._shared = False  # it has no password of its own

    # --------------------------------------------------------------------------------------------------- the password
    def set_password(self, text: str, hexadecimal: bool) -> None:
        """The next connection is tried with it. hexadecimal: it may be (1.6). Raises ValueError with a sentence."""
        if not self._shared:
            raise ValueError("cannot be set: the way that is in use has none, or one of its own (SetNetworkProfile)")
        binary = hexadecimal and _HEX.fullmatch(text) is not None
        if why := password_objection(bytes.fromhex(text) if binary else text):
            raise ValueError(why)
        kept = {"now": self._kept["now"], "new": [text] if binary else text}
        self._outbox.keep(KEPT, kept)
        self._kept, self._back = kept, False

    # ----------------------------------------------------------------------------------------------------- a connection
    def of(self, way: Profile) -> Profile:
        """The way with what is to be tried on it now."""
        self.security = way.security
        self._shared = way.security in (1, 2) and not way.own_password
        if self._shared:
            kept = self._kept["now" if self._back or self._kept["new"] is None else "new"]
            return way if kept is None else replace(way, password=_password(kept))
        return self.certified(way) if way.security == 3 else way

    def certified(self, way: Profile) -> Profile:
        """The way with our certificate, whether it needs one or not; the board's where there is no other."""
        file = None if self.keys is None else (None if self._back else self.keys.new) or self.keys.used
        return way if file is None else replace(way, cert_file=file, key_file=file)

    def failed(self, refused: bool, round_over: bool) -> None:
        """No connection stood. refused: somebody was there, and it may be that he does not believe us. round_over: all
        ways were tried."""
        self._refused |= refused
        if round_over:
            self._back = not self._back if self._refused else self._back
            self._refused = False

    def stood(self) -> str:
        """A connection stood with what `of` gave: that is what counts from now on. What became of something new: "taken
        PASSWORD", "dropped certificate", ...; empty: nothing new was there."""
        back, self._back, self._refused = self._back, False, False
        if self._shared and self._kept["new"] is not None:
            kept = {"now": self._kept["now" if back else "new"], "new": None}
            self._outbox.keep(KEPT, kept)
            self._kept = kept
            return "dropped password" if back else "taken password"
        if self.security == 3 and self.keys is not None and self.keys.new is not None:
            self.keys.settle(not back)
            return "dropped certificate" if back else "taken certificate"
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


def _password(kept: Any) -> str | bytes:
    return kept if isinstance(kept, str) else bytes.fromhex(kept[0])
