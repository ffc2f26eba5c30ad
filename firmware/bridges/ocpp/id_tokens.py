"""Whom the charger knows without asking: the local list and the cache. Pure; tokens are stored only as digests.

A digest is HMAC-SHA256 under a key that is drawn once for each charger, of the type and the token in lower case (tokens
are case-insensitive by the schemas; a tag of 1.6 counts as type Central). Short tags can still be found by trying them
all by whoever has the file with the key in it: the digest keeps them out of copies and logs, it does not make the file
public. A transaction's own token is in the queue as it is until the back end has taken the record that tells it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from firmware.bridges.ocpp import times

CACHE_MAX = 500  # policy value; the entry that was used longest ago goes
MAX_ENTRIES = 1000  # policy value: of the local list

Json = dict[str, Any]


class ListRefused(Exception):
    """A list that cannot be taken: `status` of SendLocalList, and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(slots=True)
class Known:
    """What the charger knows. An entry is {"status", "expiry_s" (or None), "group" (or None: digest of its group's id),
    "used_s" (cache only)} by digest."""

    key: str
    version: int = 0
    listed: dict[str, Json] = field(default_factory=dict)
    cache: dict[str, Json] = field(default_factory=dict)

    def digest(self, token: Mapping[str, Any]) -> str:
        """Of an IdTokenType."""
        text = f"{token['type']}\n{token['idToken'].lower()}"
        return hmac.new(bytes.fromhex(self.key), text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()

    def group(self, token: Mapping[str, Any] | None) -> str | None:
        """Digest of a group's id; its type is not looked at, because not all messages have the same for one group."""
        return None if token is None else self.digest({"type": "group", "idToken": token["idToken"]})

    def _entry(self, info: Json) -> Json:
        parent = info.get("parentIdTag")
        group = info.get("groupIdToken") if parent is None else token_16(parent)
        return {"status": info["status"], "expiry_s": expiry_s(info), "group": self.group(group)}

    def take_list(self, version: int, full: bool, entries: Sequence[tuple[Json, Json | None]]) -> Known:
        """The list after an update, the cache as it is. entries: (token, idTokenInfo or None). Raises ListRefused."""
        if version <= 0:
            raise ListRefused("Failed", f"version {version} must be above 0")
        if not full and version <= self.version:
            raise ListRefused("VersionMismatch", f"version {version} is not above {self.version}")
        listed = {} if full else dict(self.listed)
        digests = [self.digest(token) for token, _ in entries]
        if len(set(digests)) != len(digests):
            raise ListRefused("Failed", "a token is in it twice")
        for digest, (_, info) in zip(digests, entries, strict=True):
            if info is not None:
                listed[digest] = self._entry(info)
            elif full:
                raise ListRefused("Failed", "an entry of a full list has no idTokenInfo")
            else:
                listed.pop(digest, None)
        if len(listed) > MAX_ENTRIES:
            raise ListRefused("Failed", f"{len(listed)} entries; there is room for {MAX_ENTRIES}")
        return Known(self.key, version, listed, self.cache)

    def remember(self, token: Mapping[str, Any], info: Json, wall_s: float) -> None:
        """The back end has said what it thinks of a token."""
        digest = self.digest(token)
        self.cache.pop(digest, None)  # the newest is the last
        self.cache[digest] = self._entry(info) | {"used_s": wall_s}
        while len(self.cache) > CACHE_MAX:
            del self.cache[next(iter(self.cache))]

    def verdict(
        self, token: Mapping[str, Any], wall_s: float, *, use_list: bool, use_cache: bool, cache_s: float
    ) -> bool | None:
        """Whether the token may charge; None: nothing is known of it. The list counts over the cache."""
        entry = self._known(token, wall_s, use_list, use_cache, cache_s)
        return None if entry is None else _holds(entry, wall_s)

    def of_group(
        self,
        token: Mapping[str, Any],
        group: Mapping[str, Any] | None,
        wall_s: float,
        *,
        use_list: bool,
        use_cache: bool,
        cache_s: float,
    ) -> bool:
        """Whether the token may charge and belongs to this group, as far as is known here."""
        entry = self._known(token, wall_s, use_list, use_cache, cache_s)
        if group is None or entry is None or not _holds(entry, wall_s):
            return False
        return entry.get("group") == self.group(group)  # an entry of an earlier release has none

    def _known(
        self, token: Mapping[str, Any], wall_s: float, use_list: bool, use_cache: bool, cache_s: float
    ) -> Json | None:
        digest = self.digest(token)
        entry = self.listed.get(digest) if use_list else None
        if entry is None and use_cache:
            entry = self.cache.get(digest)
            if entry is not None and not 0.0 <= wall_s - entry["used_s"] < cache_s:
                entry = None
        return entry


def _holds(entry: Json, wall_s: float) -> bool:
    return entry["status"] == "Accepted" and (entry["expiry_s"] is None or wall_s < entry["expiry_s"])


def token_16(tag: str) -> Json:
    """An idTag of 1.6 in the words of 2.x: there the back end's own kind of token."""
    return {"idToken": tag, "type": "Central"}


def expiry_s(info: Mapping[str, Any]) -> float | None:
    """When an entry ends (s since the epoch); None: never."""
    stamp = info.get("cacheExpiryDateTime", info.get("expiryDate"))
    return None if stamp is None else times.parse(stamp)
