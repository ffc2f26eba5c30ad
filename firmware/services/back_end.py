"""Services' side of the OCPP bridge: its settings from the board, and a look at the charger from guard's snapshot."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from boards import Board
from boards.peers import Ocpp
from firmware.bridges.ocpp.telling import PROTOCOLS
from firmware.bridges.ocpp.view import (
    BOUNDS_S,
    NOBODY,
    WANTED_S,
    Ability,
    Car,
    CarWish,
    Ceased,
    External,
    GridPort,
    Orders,
    Phase,
    PortRefused,
    Tripped,
    View,
    Wanted,
)
from firmware.bridges.secc.messages import CarState
from firmware.grid_codes import GridCode
from firmware.grid_support.controls import Book, ControlRefused, control_of
from firmware.guard.assemble import code_of
from firmware.guard.machine import CABLE_CHECK, ChargerState
from firmware.guard.messages import Snapshot, TripInfo
from firmware.protection.types import GridState
from firmware.recorder.reader import FILE, Reader
from firmware.services.control import Refused
from firmware.services.grid_controls import Controls
from firmware.services.negotiation import CarOrders
from firmware.services.requests import MAX_REASON_CHARS, MIN_FOR_S, RequestRefused, Requests

S = ChargerState
PHASES: Mapping[ChargerState, Phase] = {
    **dict.fromkeys(CABLE_CHECK, Phase.STARTING),
    S.PRECHARGE: Phase.STARTING,
    S.HOLDING: Phase.HOLDING,
    S.CHARGING: Phase.CHARGING,
    S.DISCHARGING: Phase.DISCHARGING,
    S.THROUGH_ZERO: Phase.HOLDING,
    S.RAMP_DOWN: Phase.HOLDING,
    S.OPENING: Phase.ENDED,
    S.WELD_CHECK: Phase.ENDED,
    S.FINISHED: Phase.ENDED,
    S.FAULT: Phase.FAULT,
}
SOURCE = "back end"  # under this name services hold its request
DIAGNOSTICS_MAX = 20_000  # policy value: events in a log for the back end, about 3 MB
# Control pilot -> is a car plugged in? In every other state (E, F, unknown, invalid) nobody can tell.
PLUGGED = {"A": False, "B": True, "C": True, "D": True}


class BackEnd(Protocol):
    """What services need of the bridge. Nothing of it waits or raises."""

    def look(self, view: View) -> None: ...

    def attach(self, loop: asyncio.AbstractEventLoop, grid: GridPort) -> None: ...

    def want_priority(self, on: bool) -> None: ...

    @property
    def wanted(self) -> Wanted | None: ...

    @property
    def orders(self) -> Orders | None: ...

    @property
    def report(self) -> dict[str, Any]: ...

    @property
    def problem(self) -> str: ...

    def close(self, timeout_s: float = 2.0) -> None: ...


def view_of(
    snapshot: Snapshot,
    energy: Mapping[str, Any],
    wall_s: float,
    *,
    external: External = NOBODY,
    site_w: float | None = None,
    car: CarState | None = None,
    controls: tuple[tuple[str, bool], ...] = (),
    stopped: bool = False,
) -> View:
    """The charger as the back end's bridge sees it. energy: services' registers; wall_s: when the snapshot was made.
    external: what a local system asks for; site_w: at the grid meter, + = import; car: what the SECC heard. stopped: by
    a person."""
    plugged = PLUGGED.get(snapshot.cp)
    at_rest = Phase.PLUGGED if plugged else Phase.FREE
    voltage_v, current_a = snapshot.v_dc_v, snapshot.i_dc_a
    return View(
        t=snapshot.t,
        wall_s=wall_s,
        plugged=plugged,
        phase=PHASES.get(ChargerState(snapshot.state), at_rest),
        charged_wh=energy["charged_wh"],
        discharged_wh=energy["discharged_wh"],
        power_w=None if voltage_v is None or current_a is None else voltage_v * current_a,
        current_a=current_a,
        voltage_v=voltage_v,
        frequency_hz=snapshot.grid_f_hz,
        soc_pct=snapshot.soc_pct,
        faults=tuple(snapshot.faults),
        site_w=site_w,
        ac_w=snapshot.p_ac_w,
        car=None if car is None or not car.protocol else car_of(car),
        external=external,
        trip=None if snapshot.trip is None else _tripped(snapshot.trip, snapshot.grid_state),
        ceased=_ceased(snapshot),
        controls=controls,
        stopped=stopped,
    )


def _tripped(trip: TripInfo, grid_state: str) -> Tripped:
    over = grid_state not in (GridState.TRIPPED.value, GridState.WAITING.value)
    direction = trip.phase if trip.unit == "Hz/s" else ""
    return Tripped(trip.element, trip.t, trip.value, trip.threshold, trip.unit, trip.text, over, direction)


def _ceased(snapshot: Snapshot) -> Ceased | None:
    """Momentary cessation follows from the voltage alone: which side, say the elements that watch it."""
    volts = [e.value for e in snapshot.elements if e.unit == "pu"]
    if snapshot.grid_state != GridState.CEASED.value or not volts:
        return None
    return Ceased(max(volts, key=lambda value: abs(value - 1.0)) < 1.0, snapshot.grid_reason)


def controls_of(controls: Controls, now_s: float) -> tuple[tuple[str, bool], ...]:
    """The back end's controls that are in the book: (id, is active)."""
    ours = [c.id for c in controls.book.controls.values() if c.by == SOURCE]
    active = {c.id for c in controls.book.active(now_s)} if ours else set()
    return tuple((id, id in active) for id in ours)


class ControlsPort:
    """The book of controls as the OCPP bridge sets it. Only in services' own loop."""

    def __init__(self, controls: Controls, change: Callable[[Callable[[float], list[str]]], object]) -> None:
        """change: carries a change of the book out at the present wall time, tells guard and the log of it."""
        self._controls = controls
        self._change = change

    def set(self, table: dict[str, Any], replace: bool) -> tuple[str, ...]:
        """As GridPort. Raises PortRefused."""
        found: tuple[str, ...] = ()
        there = self._controls.book.controls.get(table["id"])
        names = [table["id"]] if replace and there is not None and there.by == SOURCE else []

        def change(now_s: float) -> list[str]:
            nonlocal found
            book = Book.from_dict(self._controls.book.as_dict())
            for name in names:
                book.clear(name)
            found = book.set(control_of(table, now_s, SOURCE), now_s)
            return self._controls.set([table], now_s, SOURCE, names)

        self._carry_out(change)
        return found

    def clear(self, control_id: str) -> None:
        """As GridPort. Raises PortRefused."""
        self._carry_out(lambda now_s: self._controls.clear(control_id, now_s, SOURCE))

    def _carry_out(self, change: Callable[[float], list[str]]) -> None:
        try:
            self._change(change)
        except (ControlRefused, Refused) as error:
            raise PortRefused(str(error).rstrip(".")) from None


def car_of(car: CarState) -> Car:
    """What the SECC heard of the car, in the words of the back end's bridge."""
    return Car(
        protocol=car.protocol,
        bidirectional=car.bidirectional,
        control=car.control,
        charge_max_w=car.charge_max_w,
        charge_max_a=car.charge_max_a,
        discharge_max_w=car.discharge_max_w,
        discharge_max_a=car.discharge_max_a,
        max_v=car.max_v,
        min_v=car.min_v,
        soc_pct=car.soc_pct,
        target_soc_pct=car.target_soc_pct,
        capacity_wh=car.capacity_wh,
        departure_s=car.departure_s,
        target_wh=car.target_energy_wh,
        max_energy_wh=car.max_energy_wh,
        min_energy_wh=car.min_energy_wh,
        max_v2x_wh=car.max_v2x_wh,
        min_v2x_wh=car.min_v2x_wh,
        profile=tuple((entry.start_s, entry.power_w) for entry in car.profile),
        profile_t=car.profile_t,
        profile_s=car.profile_s,
        anchor_s=car.anchor_s,
        schedule_id=car.schedule_id,
        tolerance=car.tolerance,
        discharge_offered=car.discharge_offered,
    )


def car_orders_of(wish: CarWish) -> CarOrders:
    """What the back end wants the car to be told, for the vehicle side."""
    return CarOrders(wish.plan, wish.charge_only, wish.replan, wish.wait_s)


def external_of(requests: Requests, now: float) -> External:
    """What the newest local source asks for; nobody when only the back end does."""
    local = next((r for r in requests.live(now) if r.source != SOURCE), None)
    bounds = [b for b in requests.bounds(now) if b.source != SOURCE]
    charges = [b.charge_w for b in bounds if b.charge_w is not None]
    discharges = [b.discharge_w for b in bounds if b.discharge_w is not None]
    if local is None and not bounds:
        return NOBODY
    name = local.source if local is not None else bounds[0].source
    power_w = None if local is None else local.power_w
    return External(power_w, min(charges, default=None), min(discharges, default=None), name)


def obey(requests: Requests, now: float, wanted: Wanted | None) -> bool:
    """Turn what the back end's rules come to into a request and a bound with a lease; whether the request that counts
    changed. A rule that says nothing any more has no say; what a bridge wanted that decides nothing any more, or has
    not begun after a restart, ends with its lease."""
    before = requests.for_guard(now, WANTED_S)
    age_s = math.inf if wanted is None else now - wanted.t
    try:
        if wanted is not None and age_s <= BOUNDS_S:
            for_s, reason = max(BOUNDS_S - age_s, MIN_FOR_S), _printable(wanted.bound_reason)
            requests.bound(now, SOURCE, wanted.charge_w, wanted.discharge_w, for_s, reason)
        if wanted is not None and age_s <= WANTED_S:
            for_s = max(WANTED_S - age_s, MIN_FOR_S)
            if wanted.power_w is None:
                requests.withdraw(SOURCE)
            else:
                requests.ask(now, SOURCE, wanted.power_w, for_s, _printable(wanted.reason), rule=wanted.rule,
                             sleep=wanted.sleep)  # fmt: skip
    except RequestRefused:  # too many sources: then the others count
        requests.withdraw(SOURCE)
    after = requests.for_guard(now, WANTED_S)
    return (after.source, after.power_w, after.sleep) != (before.source, before.power_w, before.sleep)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_REASON_CHARS]


class Absent:
    """A back end that is configured and cannot be reached by any means: the charger works without, and says so."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.wanted: Wanted | None = None
        self.orders: Orders | None = None
        self.report: dict[str, Any] = {}

    def attach(self, loop: asyncio.AbstractEventLoop, grid: GridPort) -> None:
        """Nobody sets controls."""

    def look(self, view: View) -> None:
        """Nobody is told."""

    def want_priority(self, on: bool) -> None:
        """Nobody is there to give it."""

    def close(self, timeout_s: float = 2.0) -> None:
        """Nothing to end."""


def start(board: Board, run_dir: Path, say: Callable[[str], None], restarted: bool = False) -> BackEnd | None:
    """The running bridge; None when the board has no [ocpp]. restarted: earlier services ended unexpectedly."""
    if board.ocpp is None:
        return None
    try:
        # Only where it is configured: a charger without a back end needs none of these packages.
        from firmware.bridges.ocpp.bridge import BridgeThread
        from firmware.bridges.ocpp.network import NetworkError, Ways
        from firmware.bridges.ocpp.worker import Threads
    except ImportError as error:
        return _absent(f"OCPP does not run: {error.name} is not installed; pip install 'quadrant[ocpp]'.", say)
    try:
        settings = _settings(board, board.ocpp, restarted)
        Ways(settings.profiles)
        worker = Threads(
            run_dir,
            partial(diagnostics, run_dir),
            _path(board.ocpp.installer),
            _path(board.ocpp.firmware_ca_file),
            _path(board.ocpp.ca_file),
        )
    except (NetworkError, OSError, UnicodeDecodeError) as error:
        return _absent(f"OCPP does not run: {error}", say)
    thread = BridgeThread(settings, run_dir, say, worker)
    thread.start()
    return thread


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def diagnostics(run_dir: Path, oldest_s: float | None, latest_s: float | None) -> bytes:
    """What the back end gets as a DiagnosticsLog: the event log as JSON lines, the newest DIAGNOSTICS_MAX of those
    between oldest and latest (wall time, s). Called in a thread of the bridge. Raises RecorderError."""
    reader = Reader(run_dir / FILE)
    try:
        events = reader.events(DIAGNOSTICS_MAX, oldest_s or 0.0)
    finally:
        reader.close()
    lines = [
        json.dumps({"t": e.t_wall, "code": e.code, "severity": e.severity, "detail": e.detail, "cleared": e.cleared})
        for e in events
        if latest_s is None or e.t_wall <= latest_s
    ]
    return "".join(line + "\n" for line in lines).encode()


def _absent(problem: str, say: Callable[[str], None]) -> Absent:
    say(problem)
    return Absent(problem)


def _settings(board: Board, ocpp: Ocpp, restarted: bool) -> Any:
    """Raises OSError, UnicodeDecodeError: the password file."""
    from firmware.bridges.ocpp.bridge import Settings
    from firmware.bridges.ocpp.dialect import BY_NAME
    from firmware.bridges.ocpp.identity import Identity
    from firmware.bridges.ocpp.network import Profile

    code = code_of(board)
    password = "" if ocpp.password_file is None else Path(ocpp.password_file).read_text().rstrip("\r\n")

    ca_file, cert_file, key_file = _path(ocpp.ca_file), _path(ocpp.cert_file), _path(ocpp.key_file)
    profiles = [
        Profile(url, ocpp.identity, ocpp.security, password, ca_file, cert_file, key_file)
        for url in (ocpp.url, ocpp.fallback_url)
        if url is not None
    ]
    names = dict.fromkeys(re.split(" *, *", ocpp.versions))
    return Settings(
        profiles=profiles,
        dialects=[BY_NAME[name] for name in names],
        identity=Identity(
            ocpp.vendor,
            (ocpp.model or board.name)[:20],
            ocpp.serial,
            _version()[:50],
            ocpp.id_tag,
            ocpp.identity,
            ocpp.security,
        ),
        meter_interval_s=ocpp.meter_interval_s,
        message_timeout_s=ocpp.message_timeout_s,
        follow_clock=ocpp.clock == "back end",
        backoff=(ocpp.retry_minimum_s, ocpp.retry_random_s, ocpp.retry_repeat),
        restarts=os.environ.get("QUADRANT_RESTARTS") == "1",  # set by the unit that starts it again (docs/systemd.md)
        boot_reason="ApplicationReset" if restarted else "PowerUp",
        ability=Ability(
            charge_w=board.ratings.charge_w,
            discharge_w=board.ratings.discharge_w,
            negative_limits=ocpp.negative_limits,
            site_meter=ocpp.site_meter,
            balance_upper_w=ocpp.balance_upper_w,
            balance_lower_w=ocpp.balance_lower_w,
            nominal_f_hz=code.nominal_f_hz,
            entry_ramp=_entry_ramp(code),
            protocols=tuple(PROTOCOLS) if board.vehicle.driver == "iso15118" else (),
        ),
    )


def _entry_ramp(code: GridCode) -> str:
    entry = code.enter_service
    return "ramp_pu_per_min" if entry.ramp_pu_per_min else "ramp_duration_s" if entry.ramp_duration_s else ""


def _version() -> str:
    try:
        return version("quadrant")
    except PackageNotFoundError:
        return "unknown"
