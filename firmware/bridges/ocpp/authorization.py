"""Who may charge (blocks C and D): the back end is asked, or the local list and the cache are, by the settings.

Tokens come with remote starts; this charger has no reader. What waits for its answer is not kept over power: the driver
is there and asks again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.id_tokens import Known, ListRefused, token_16
from firmware.bridges.ocpp.outbox import Message, OutboxError
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.transaction import Grant

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEY, LIST, CACHE, DENIED = "token key", "local list", "token cache", "denied transaction"  # names in the outbox
LIST_ITEMS = 100  # policy value: entries of one SendLocalList


class Authorization(Function):
    """Authorize, SendLocalList, GetLocalListVersion, ClearCache."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        outbox = station.outbox
        key = outbox.state(KEY)
        if not isinstance(key, str) or len(key) != 64:
            key = secrets.token_hex(32)
            outbox.keep(KEY, key)
        self.known = Known(key)
        try:
            kept = outbox.state(LIST) or {"version": 0, "entries": {}}
            self.known = Known(key, kept["version"], kept["entries"], outbox.state(CACHE) or {})
        except (KeyError, TypeError) as error:
            station.say(f"The stored local list cannot be understood and is forgotten: {error!r}.")
        self._waiting: Grant | None = None
        self._denied: str | None = outbox.state(DENIED)

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"SendLocalList", "GetLocalListVersion", "ClearCache"})

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return frozenset({"Authorize"})

    # ------------------------------------------------------------------------------------------------ the back end
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        two, tune = self._two, self.station.tune
        match action:
            case "GetLocalListVersion":
                if two:
                    return {"versionNumber": self.known.version if tune.local_list else 0}
                return {"listVersion": self.known.version if tune.local_list else -1}  # -1: OCPP 1.6 section 6.26
            case "ClearCache":
                if not tune.cache:
                    return {"status": "Rejected"}
                self.station.outbox.keep(CACHE, None)
                self.known.cache = {}
                return {"status": "Accepted"}
            case _:
                return self._send_list(payload)

    def _send_list(self, payload: Json) -> Json:
        two = self._two
        given = payload.get("localAuthorizationList", [])
        try:
            if not self.station.tune.local_list:
                raise ListRefused("Failed" if two else "NotSupported", "the local list is switched off")
            if len(given) > LIST_ITEMS:
                raise ListRefused("Failed", f"at most {LIST_ITEMS} entries in one call, not {len(given)}")
            if two:
                entries = [(item["idToken"], item.get("idTokenInfo")) for item in given]
                version = payload["versionNumber"]
            else:
                entries = [(token_16(item["idTag"]), item.get("idTagInfo")) for item in given]
                version = payload["listVersion"]
            known = self.known.take_list(version, payload["updateType"] == "Full", entries)
        except ListRefused as refusal:
            self.station.say(f"The back end's local list was refused: {refusal}.")
            info = {"statusInfo": {"reasonCode": "InvalidValue", "additionalInfo": str(refusal)}}
            return {"status": refusal.status} | (info if two else {})
        self.station.outbox.keep(LIST, {"version": known.version, "entries": known.listed})
        self.known = known
        return {"status": "Accepted"}

    # ---------------------------------------------------------------------------------------------------- a token
    @property
    def busy(self) -> bool:
        """A token waits for what the back end says."""
        return self._waiting is not None

    def ask(self, now: float, grant: Grant) -> None:
        """May this one charge? Granted at once, or when the back end has said so. Raises OutboxError."""
        if self._verdict(now, grant, self.station.online):
            self.station.transactions.grant(grant)
        elif self.station.online:
            self._waiting = grant
        else:
            self._decide_alone(now, grant)

    def _verdict(self, now: float, grant: Grant, online: bool) -> bool | None:
        tune = self.station.tune
        if not (tune.local_pre if online else tune.local_offline):
            return None
        return self.known.verdict(
            grant.token, self.station.wall_s(now), use_list=tune.local_list, use_cache=tune.cache, cache_s=tune.cache_s
        )

    def of_group(self, now: float, token: Json, group: Json | None) -> bool:
        """Whether list or cache say that this token may charge and belongs to this group."""
        tune = self.station.tune
        if not (tune.local_pre if self.station.online else tune.local_offline):
            return False
        wall_s = self.station.wall_s(now)
        use = {"use_list": tune.local_list, "use_cache": tune.cache}
        return self.known.of_group(token, group, wall_s, cache_s=tune.cache_s, **use)

    def _decide_alone(self, now: float, grant: Grant) -> None:
        verdict = self._verdict(now, grant, online=False)
        if verdict or (verdict is None and self.station.tune.unknown_offline):
            self.station.transactions.grant(grant)
        else:
            self.station.say("A token was refused: the back end is away, and the charger does not know it.")

    def next(self, now: float) -> tuple[str, Json] | None:
        if self._waiting is None:
            return None
        token = self._waiting.token
        return "Authorize", ({"idToken": token} if self._two else {"idTag": token["idToken"]})

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        grant, self._waiting = self._waiting, None
        if grant is None:
            return
        info = payload["idTokenInfo" if "idTokenInfo" in payload else "idTagInfo"]
        if info["status"] == "Accepted":
            self.station.transactions.grant(grant)
            if allowed := payload.get("allowedEnergyTransfer"):
                for function in self.station.functions:
                    function.allowed(now, allowed)
        else:
            self.station.say(f"A token was refused by the back end: {info['status']}.")
        self._remember(now, grant.token, info)

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        grant, self._waiting = self._waiting, None
        if grant is None:
            return
        if code in (NO_ANSWER, DISCONNECTED):
            try:
                self._decide_alone(now, grant)
            except OutboxError as error:
                self.station.say(str(error))
        else:
            self.station.say(f"A token was refused: the back end answered {code[:40]}.")

    def disconnected(self, now: float) -> None:
        if self._waiting is not None:  # it was not even asked yet
            self.failed(now, "Authorize", {}, DISCONNECTED)

    def _remember(self, now: float, token: Json, info: Json) -> None:
        """Raises OutboxError; then the cache lives in memory only, until the next entry."""
        if self.station.tune.cache:
            self.known.remember(token, info, self.station.wall_s(now))
            self.station.outbox.keep(CACHE, self.known.cache)

    # ------------------------------------------------------------------------------------------------ a transaction
    def taken(self, now: float, message: Message, payload: Json) -> None:
        """What the back end thinks of the token of a transaction, said with its answer to a record (C10, E05)."""
        token, info = message.payload.get("token"), payload.get("idTokenInfo", payload.get("idTagInfo"))
        if token is None or info is None:
            return
        transactions = self.station.transactions
        try:
            self._remember(now, token, info)
            if info["status"] == "Accepted" or message.tx != transactions.id:
                return
            self.station.say(f"The back end does not accept the token of the session: {info['status']}.")
            if self.station.tune.stop_on_invalid:
                transactions.end("Deauthorized", "DeAuthorized")
            else:  # it goes on without power
                self._denied = transactions.id
                self.station.outbox.keep(DENIED, self._denied)
        except OutboxError as error:
            self.station.say(str(error))

    def hold(self, now: float) -> str:
        transactions = self.station.transactions
        if self._denied is not None and self._denied == transactions.id:
            return "the back end does not accept who pays for this session"
        if transactions.required and transactions.id is None:
            return "nobody is authorized to charge"
        return ""

    def report(self, now: float) -> Json:
        return {"local_list": {"version": self.known.version, "entries": len(self.known.listed)}}

    @property
    def _two(self) -> bool:
        dialect = self.station.dialect
        return dialect is not None and dialect.two
