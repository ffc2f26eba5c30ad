"""The whole simulated charger with the station of OCPP on top, in lockstep: what services do between the two is done
by services' own functions (`view_of`, `obey`, `Requests`), and a back end in memory answers.

Time is simulated; wall time is WALL_S at its beginning.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware.bridges.ocpp.dialect import V21, Dialect
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.transaction import Transactions
from firmware.bridges.ocpp.view import Ability
from firmware.guard.messages import Operator
from firmware.services.back_end import SOURCE as BACK_END
from firmware.services.back_end import ControlsPort, controls_of, external_of, obey, view_of
from firmware.services.grid_controls import Controls
from firmware.services.requests import Requests
from hil.sim import Sim
from tests.ocpp.back_end import WALL_S, WHO, BackEnd
from tests.sim.rig import F_HZ, IEEE, board

LOOK_S = 0.1  # guard's snapshots come ten times a second
LEASE_S = 2.0  # board desk: policy.lease_s


class Charger:
    """`sim` with a station that is connected and registered. `requests`: services' own."""

    def __init__(
        self,
        sim: Sim,
        dialect: Dialect = V21,
        *,
        outbox: Outbox | None = None,
        run_dir: Path | None = None,
        code: str = IEEE,
        **ability: Any,
    ) -> None:
        """run_dir: where services keep their book of controls; without it nothing of block R is supported."""
        self.sim = sim
        self.controls = None if run_dir is None else Controls(run_dir, board(code), WALL_S + sim.now)
        self.dialect = dialect
        self.box = Outbox(":memory:") if outbox is None else outbox
        self.said: list[str] = []
        ids = (f"id-{n}" for n in itertools.count(1))
        self.requests = Requests(22_000.0, 22_000.0, 0.0)
        self.station = Station(
            WHO,
            self.box,
            Transactions(self.box, 60.0, lambda: next(ids)),
            message_timeout_s=30.0,
            new_id=lambda: next(ids),
            say=self.said.append,
            ability=Ability(nominal_f_hz=F_HZ[code], entry_ramp="ramp_duration_s", **ability),
            grid=None if self.controls is None else ControlsPort(self.controls, self._change),
        )
        self.peer = BackEnd(dialect)
        self.linked = False
        self.held = False  # guard was told to stop by the back end's orders
        self.look()
        self.connect()
        self.run(0.3)

    def connect(self) -> None:
        self.station.connected(self.sim.now, self.dialect)
        self.linked = True
        self.peer.settle(self.station, self.sim.now)

    def disconnect(self) -> None:
        self.station.disconnected(self.sim.now)
        self.linked = False

    def look(self) -> None:
        """One snapshot's way: guard -> services -> station -> services -> guard."""
        sim = self.sim
        snapshot = sim.services.snapshot
        assert snapshot is not None
        energy = {"charged_wh": snapshot.charged_wh, "discharged_wh": snapshot.discharged_wh}
        external = external_of(self.requests, sim.now)
        self._tell_guard()
        theirs = () if self.controls is None else controls_of(self.controls, WALL_S + sim.now)
        self.station.observe(view_of(snapshot, energy, WALL_S + snapshot.t, external=external, controls=theirs))
        if self.linked:
            self.peer.settle(self.station, sim.now)
        self.obey()
        held = bool(self.station.orders(sim.now).hold)  # as services do: firmware/services/app.py, _obey_orders
        if held is not self.held:
            self.held = held
            sim.services.outbox.append(Operator("stop" if held else "start", BACK_END))

    def _change(self, change: Callable[[float], list[str]]) -> None:
        """As services do with every change of their book."""
        assert self.controls is not None
        now_s = WALL_S + self.sim.now
        self.controls.advance(now_s)
        change(now_s)
        self._tell_guard()

    def _tell_guard(self) -> None:
        if self.controls is None:
            return
        self.controls.advance(WALL_S + self.sim.now)
        message = self.controls.message(WALL_S + self.sim.now)
        if message is not None:
            self.sim.services.outbox.append(message)
            self.controls.told(message)

    def obey(self) -> None:
        sim = self.sim
        changed = obey(self.requests, sim.now, self.station.wanted(sim.now))
        request = self.requests.for_guard(sim.now, LEASE_S)
        wish = sim.services.wish
        wish.power_w, wish.source, wish.reason = request.power_w, request.source, request.reason
        wish.sleep = request.sleep
        wish.lease_s = max(request.until_s - sim.now, 0.0)
        if changed:
            sim.services._next_lease = sim.now  # as services do: told at once, not at the next renewal

    def run(self, for_s: float) -> None:
        end_s = self.sim.now + for_s
        while self.sim.now < end_s - 1e-9:
            self.sim.run(min(self.sim.now + LOOK_S, end_s))
            self.look()

    def ask(self, action: str, payload: dict[str, Any]) -> Any:
        """The back end calls; its answer."""
        answer = self.peer.ask(self.station, action, payload, self.sim.now)
        self.obey()
        return answer

    @property
    def tx(self) -> str:
        assert self.station.transactions.id is not None
        return self.station.transactions.id


def stored(path: Path) -> Outbox:
    """A queue on the disk."""
    return Outbox(path / "ocpp.sqlite")


def tx_profile(tx: str, period: dict[str, Any], *, id: int = 7, stack: int = 0, **more: Any) -> dict[str, Any]:
    """SetChargingProfile of a TxProfile with one period that begins when it is taken."""
    schedule = {
        "id": 1,
        "chargingRateUnit": more.pop("unit", "W"),
        "startSchedule": more.pop("start", "2026-01-01T00:00:00Z"),
        "chargingSchedulePeriod": [{"startPeriod": 0, **period}],
        **more.pop("schedule", {}),
    }
    profile = {
        "id": id,
        "stackLevel": stack,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Absolute",
        "transactionId": tx,
        "chargingSchedule": [schedule],
        **more,
    }
    return {"evseId": 1, "chargingProfile": profile}
