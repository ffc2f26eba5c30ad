"""DER control: the back end's controls over the grid code, and what it is told of them and of protection (block R).

The controls are kept, ranked and executed by services' book (firmware/services/grid_controls.py), which refuses what
the grid code does not permit; here is what OCPP needs beside that: its own words for each control, which of them were
superseded, and the notifications that must not be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.checks import DER_SHAPES, Objection, rejected
from firmware.bridges.ocpp.der_map import KINDS, NotMapped, alarm_of, cessation_of, reported, table_of
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.function import Function, Json
from firmware.bridges.ocpp.outbox import OutboxError
from firmware.bridges.ocpp.rpc import DISCONNECTED, NO_ANSWER
from firmware.bridges.ocpp.view import PortRefused, View

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

KEPT = "DER"  # name in the outbox
MAX_NOTICES = 200  # policy value: what waits for the back end; the oldest go first
SETTLE_S = 1.0  # a look at the charger that is older than a change by this may not know of it yet
SAME_TRIP_S = 2.0  # one trip seen again after a restart: its wall time may differ by so much

_CALLS = frozenset({"SetDERControl", "GetDERControl", "ClearDERControl"})
_SAYS = frozenset({"ReportDERControl", "NotifyDERStartStop", "NotifyDERAlarm"})


class DerControl(Function):
    """SetDERControl, GetDERControl, ClearDERControl, and the notices of block R."""

    def __init__(self, station: Station) -> None:
        super().__init__(station)
        kept = station.outbox.state(KEPT) or {"controls": {}, "notices": [], "trip_s": None, "alarm": None}
        # id -> {"request", "superseded", "active"}: as the back end set it.
        self.controls: dict[str, Json] = kept["controls"]
        self._notices: list[Json] = kept["notices"]  # {"action", "payload"}, the oldest first
        self._trip_s: float | None = kept["trip_s"]  # wall time of the trip that was told
        self._alarm: str | None = kept["alarm"]  # controlType of the alarm that goes on
        self._ceased: bool | None = kept.get("ceased")  # of the cessation that was told: whether for under-voltage
        self._reports: list[Json] = []
        self._changed_t = 0.0
        self._sent = ""  # which list the open call came from

    @classmethod
    def answers(cls, dialect: Dialect) -> frozenset[str]:
        return _CALLS if dialect.name == "2.1" else frozenset()

    @classmethod
    def says(cls, dialect: Dialect) -> frozenset[str]:
        return _SAYS if dialect.name == "2.1" else frozenset()

    # ------------------------------------------------------------------------------------------------------- calls
    def carry_out(self, now: float, action: str, payload: Json) -> Json:
        kind = payload.get("controlType")
        if self.station.grid is None or (kind is not None and kind not in KINDS):
            return {"status": "NotSupported"}
        match action:
            case "SetDERControl":
                return self._set(now, payload)
            case "GetDERControl":
                return self._get(payload)
            case _:
                return self._clear(now, payload)

    def _set(self, now: float, request: Json) -> Json:
        assert self.station.grid is not None
        id = request["controlId"]
        known = self.controls.get(id)
        try:
            table = table_of(request, self.station.ability)
            ids = self.station.grid.set(table, known is not None)
            if ids == (id,):  # it has lost, and for good: it must not come into force when the other one goes
                self.station.grid.clear(id)
        except NotMapped as error:
            return rejected(error.objection)
        except (PortRefused, ValueError, OverflowError) as error:
            return rejected(Objection("InvalidValue", str(error)))
        lost = ids == (id,)
        control = {"request": request, "superseded": lost, "active": False, "lost_to": []}
        if not lost:
            control["lost_to"] = list(ids)
        # A default holds at once, and so does what it supersedes; a scheduled one tells of it when it begins.
        if request["isDefault"]:
            control["active"] = not lost
            for other in ids:
                if other in self.controls:
                    self.controls[other] |= {"superseded": True, "active": False}
        self.controls[id] = control
        self._changed_t = now
        self._keep()
        shown = [other for other in ids if other in self.controls][:24]
        return {"status": "Accepted", **({"supersededIds": shown} if shown else {})}

    def _matching(self, request: Json) -> dict[str, Json]:
        def meant(id: str, control: Json) -> bool:
            set_ = control["request"]
            return (
                request.get("controlId") in (None, id)
                and request.get("isDefault") in (None, set_["isDefault"])
                and request.get("controlType") in (None, set_["controlType"])
            )

        return {id: control for id, control in self.controls.items() if meant(id, control)}

    def _get(self, request: Json) -> Json:
        found = self._matching(request)
        if not found:
            return {"status": "NotFound"}
        for number, control in enumerate(found.values()):
            entry = reported(control["request"], control["superseded"])
            self._reports.append({"requestId": request["requestId"], "tbc": number + 1 < len(found), **entry})
        return {"status": "Accepted"}

    def _clear(self, now: float, request: Json) -> Json:
        assert self.station.grid is not None
        found = self._matching(request)
        if not found:
            everything = "controlId" not in request and "controlType" not in request
            return {"status": "Accepted" if everything else "NotFound"}
        for id, control in found.items():
            if not control["superseded"]:
                try:
                    self.station.grid.clear(id)
                except PortRefused as error:
                    if "there is no control" not in str(error):  # somebody else has cleared it: then it is done
                        return rejected(Objection("InternalError", str(error)))
            del self.controls[id]
        self._changed_t = now
        self._keep()
        return {"status": "Accepted"}

    # -------------------------------------------------------------------------------------------------------- ours
    def next(self, now: float) -> tuple[str, Json] | None:
        dialect = self.station.dialect
        if dialect is None or dialect.name != "2.1":
            self._reports.clear()
            return None
        if self._reports:
            self._sent = "report"
            return "ReportDERControl", self._reports[0]
        if self._notices:
            self._sent = "notice"
            return self._notices[0]["action"], self._notices[0]["payload"]
        return None

    def answered(self, now: float, action: str, request: Json, payload: Json) -> None:
        self._done()

    def failed(self, now: float, action: str, request: Json, code: str) -> None:
        if self._sent == "report" or code not in (NO_ANSWER, DISCONNECTED):
            try:
                self._done()
            except OutboxError as error:
                self.station.say(str(error))

    def _done(self) -> None:
        if self._sent == "report":
            self._reports.pop(0)
        elif self._notices:
            self._notices.pop(0)
            self._keep()

    def disconnected(self, now: float) -> None:
        self._reports.clear()

    def report(self, now: float) -> Json:
        shown = [
            {
                "id": id,
                "type": c["request"]["controlType"],
                "default": c["request"]["isDefault"],
                "state": "superseded" if c["superseded"] else "active" if c["active"] else "waiting",
                "payload": c["request"][DER_SHAPES[c["request"]["controlType"]].payload],
            }
            for id, c in self.controls.items()
        ]
        return {"der": shown, "der_notices": len(self._notices), "alarm": self._alarm}

    # ------------------------------------------------------------------------------------------------- the charger
    def observe(self, view: View) -> None:
        try:
            self._follow(view)
            self._alarms(view)
        except OutboxError as error:
            self.station.say(str(error))

    def _follow(self, view: View) -> None:
        """What became of the controls: begun, over, superseded, cleared by somebody here."""
        if view.t < self._changed_t + SETTLE_S:
            return
        there = dict(view.controls)
        changed = False
        # Those that begin come first: who is superseded by one of them is told of in its notice.
        for id, control in sorted(self.controls.items(), key=lambda item: not there.get(item[0])):
            set_ = control["request"]
            if self._over(set_):
                if control["active"]:
                    self._notice("NotifyDERStartStop", {"controlId": id, "started": False})
                del self.controls[id]
                changed = True
            elif control["superseded"]:
                continue
            elif there.get(id) and not control["active"]:
                control["active"] = changed = True
                losers = [i for i in control["lost_to"] if i in self.controls]
                for other in losers:
                    self.controls[other] |= {"superseded": True, "active": False}
                more = {"supersededIds": losers[:24]} if losers else {}
                self._notice("NotifyDERStartStop", {"controlId": id, "started": True, **more})
            elif id not in there:  # superseded by a control that is not the back end's, or cleared by an operator
                if control["active"]:
                    self._notice("NotifyDERStartStop", {"controlId": id, "started": False})
                control |= {"superseded": True, "active": False}
                changed = True
        if changed:
            self._keep()

    def _over(self, request: Json) -> bool:
        body = request[DER_SHAPES[request["controlType"]].payload]
        if "startTime" not in body:
            return False
        view = self.station.view
        return view is not None and view.wall_s >= times.parse(body["startTime"]) + float(body["duration"])

    def _alarms(self, view: View) -> None:
        self._cessation(view)
        trip = view.trip
        if trip is None:
            return
        trip_s, what = view.wall_s - (view.t - trip.t), alarm_of(trip)
        if self._trip_s is None or abs(trip_s - self._trip_s) > SAME_TRIP_S:
            self._trip_s = trip_s
            self._tell_alarm(what, trip.text, trip_s, ended=False)
            self._alarm = what[0]
            self._keep()
        if trip.over and self._alarm is not None:
            self._tell_alarm(what, trip.text, view.wall_s, ended=True)
            self._alarm = None
            self._keep()

    def _cessation(self, view: View) -> None:
        now = None if view.ceased is None else view.ceased.under
        if now == self._ceased:
            return
        if self._ceased is not None:
            self._tell_alarm(cessation_of(self._ceased), "", view.wall_s, ended=True)
        if view.ceased is not None:
            self._tell_alarm(cessation_of(view.ceased.under), view.ceased.text, view.wall_s, ended=False)
        self._ceased = now
        self._keep()

    def _tell_alarm(self, what: tuple[str, str], text: str, at_s: float, ended: bool) -> None:
        kind, fault = what
        payload: Json = {"controlType": kind, "timestamp": times.show(at_s)}
        payload |= ({"gridEventFault": fault} if fault else {}) | ({"extraInfo": text[:200]} if text else {})
        if ended:
            payload["alarmEnded"] = True
        self._notices.append({"action": "NotifyDERAlarm", "payload": payload})

    def _notice(self, action: str, payload: Json) -> None:
        view = self.station.view
        assert view is not None
        self._notices.append({"action": action, "payload": {**payload, "timestamp": times.show(view.wall_s)}})

    def _keep(self) -> None:
        del self._notices[:-MAX_NOTICES]
        kept = {"controls": self.controls, "notices": self._notices, "trip_s": self._trip_s, "alarm": self._alarm}
        kept["ceased"] = self._ceased
        self.station.outbox.keep(KEPT, kept)
