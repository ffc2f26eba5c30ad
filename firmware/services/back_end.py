"""Services' side of the OCPP bridge: its settings from the board, and a look at the charger from guard's snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from boards import Board
from boards.schema import Ocpp
from firmware.bridges.ocpp.view import Phase, View
from firmware.guard.machine import CABLE_CHECK, ChargerState
from firmware.guard.messages import Snapshot

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
# Control pilot -> is a car plugged in? In every other state (E, F, unknown, invalid) nobody can tell.
PLUGGED = {"A": False, "B": True, "C": True, "D": True}


class BackEnd(Protocol):
    """What services need of the bridge. Nothing of it waits or raises."""

    def look(self, view: View) -> None: ...

    @property
    def problem(self) -> str: ...

    def close(self, timeout_s: float = 2.0) -> None: ...


def view_of(snapshot: Snapshot, energy: Mapping[str, Any], wall_s: float) -> View:
    """The charger as the back end's bridge sees it. energy: services' registers; wall_s: when the snapshot was made."""
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
    )


class Absent:
    """A back end that is configured and cannot be reached by any means: the charger works without, and says so."""

    def __init__(self, problem: str) -> None:
        self.problem = problem

    def look(self, view: View) -> None:
        """Nobody is told."""

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
    except ImportError as error:
        return _absent(f"OCPP does not run: {error.name} is not installed; pip install 'quadrant[ocpp]'.", say)
    try:
        settings = _settings(board, board.ocpp, restarted)
        Ways(settings.profiles)
    except (NetworkError, OSError, UnicodeDecodeError) as error:
        return _absent(f"OCPP does not run: {error}", say)
    thread = BridgeThread(settings, run_dir, say)
    thread.start()
    return thread


def _absent(problem: str, say: Callable[[str], None]) -> Absent:
    say(problem)
    return Absent(problem)


def _settings(board: Board, ocpp: Ocpp, restarted: bool) -> Any:
    """Raises OSError, UnicodeDecodeError: the password file."""
    from firmware.bridges.ocpp.bridge import Settings
    from firmware.bridges.ocpp.dialect import BY_NAME
    from firmware.bridges.ocpp.identity import Identity
    from firmware.bridges.ocpp.network import Profile

    password = "" if ocpp.password_file is None else Path(ocpp.password_file).read_text().rstrip("\r\n")

    def path(text: str | None) -> Path | None:
        return None if text is None else Path(text)

    profiles = [
        Profile(
            url, ocpp.identity, ocpp.security, password, path(ocpp.ca_file), path(ocpp.cert_file), path(ocpp.key_file)
        )
        for url in (ocpp.url, ocpp.fallback_url)
        if url is not None
    ]
    names = dict.fromkeys(re.split(" *, *", ocpp.versions))
    return Settings(
        profiles=profiles,
        dialects=[BY_NAME[name] for name in names],
        identity=Identity(ocpp.vendor, (ocpp.model or board.name)[:20], ocpp.serial, _version()[:50], ocpp.id_tag),
        meter_interval_s=ocpp.meter_interval_s,
        message_timeout_s=ocpp.message_timeout_s,
        follow_clock=ocpp.clock == "back end",
        backoff=(ocpp.retry_minimum_s, ocpp.retry_random_s, ocpp.retry_repeat),
        boot_reason="ApplicationReset" if restarted else "PowerUp",
    )


def _version() -> str:
    try:
        return version("quadrant")
    except PackageNotFoundError:
        return "unknown"
