"""What EVerest wants of the power side, out of its messages. Pure: topics and bytes in, `CarStatus` out.

EVerest's words: Export charges the car, Import discharges it. A set-point is a limit here: the charger may always give
less. Whatever cannot be understood changes nothing, and what EVerest has not said permits nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from firmware.bridges.everest.topics import BSP, IMD, MANAGER, METER, PSU, Modules
from hal.ports import CarPhase, CarStatus, Reading

MAX_BYTES = 65536  # far above any message of the API
# EVerest is heard of once per heartbeat: one may be late by half of itself before guard's own 0.5 s begin (policy).
GRACE_HEARTBEATS = 1.5
LIVING = (PSU, BSP, IMD)  # without any of these there is no session

Volts = Annotated[float, msgspec.Meta(ge=0.0, le=1500.0)]  # upper bounds of EVerest's own types
Amps = Annotated[float, msgspec.Meta(ge=-10_000.0, le=10_000.0)]


class ModeRequest(msgspec.Struct, frozen=True):
    mode: Literal["Off", "Export", "Import", "Fault"]
    charging_phase: Literal["Other", "CableCheck", "PreCharge", "Charging"] = "Other"


class VoltageCurrent(msgspec.Struct, frozen=True):
    voltage_V: Volts
    current_A: Amps


class PowerOn(msgspec.Struct, frozen=True):
    allow_power_on: bool
    reason: Literal["DCCableCheck", "DCPreCharge", "FullPowerCharging", "PowerOff"]


class EvInfo(msgspec.Struct, frozen=True):
    soc: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] | None = None
    maximum_voltage_limit: Volts | None = None
    battery_capacity: Annotated[float, msgspec.Meta(ge=0.0, le=1e7)] | None = None


class Headers(msgspec.Struct, frozen=True, rename={"reply_to": "replyTo"}):
    reply_to: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None


class Call(msgspec.Struct, frozen=True):
    headers: Headers = Headers()


Percent = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
# What EVerest may say, and the type of its payload; None: the payload says nothing.
_KINDS: dict[tuple[str, str], Any] = {
    (PSU, "mode"): ModeRequest,
    (PSU, "export_voltage_current"): VoltageCurrent,
    (PSU, "import_voltage_current"): VoltageCurrent,
    (BSP, "enable"): bool,
    (BSP, "pwm_on"): Percent,
    (BSP, "cp_state_X1"): None,
    (BSP, "cp_state_E"): None,
    (BSP, "cp_state_F"): None,
    (BSP, "allow_power_on"): PowerOn,
    (IMD, "start"): None,
    (IMD, "stop"): None,
    (IMD, "start_self_test"): Volts,
    (METER, "start_transaction"): Call,
    (METER, "stop_transaction"): Call,
    (MANAGER, "ev_info"): EvInfo,
    **{(kind, "heartbeat"): int for kind in (PSU, BSP, IMD, METER, MANAGER)},
}


class Peer:
    """One EVerest. `say` hears one sentence for each kind of message that was not understood."""

    def __init__(self, modules: Modules, heartbeat_s: float, say: Callable[[str], None]) -> None:
        """heartbeat_s: EVerest's own `cfg_heartbeat_interval_ms`, in seconds."""
        self._modules = modules
        self._heartbeat_s = heartbeat_s
        self._say = say
        self._told_bad: set[tuple[str, str]] = set()
        self.bad = 0  # messages that were not understood
        self.replies: list[tuple[str, str]] = []  # topic and payload, to be sent
        self.forget()

    def forget(self) -> None:
        """The connection is new, or lost: what was commanded before holds no more."""
        self._heard: dict[str, float] = {}
        self._beats: dict[str, int] = {}
        self.restarted = True  # it knows nothing of us: everything must be told again
        self._forget_supply()
        self._forget_board()
        self._forget_insulation()
        self._car = EvInfo()

    def _forget_supply(self) -> None:
        self.mode = ModeRequest("Off")
        self._export: VoltageCurrent | None = None
        self._import: VoltageCurrent | None = None

    def _forget_board(self) -> None:
        self.enabled, self.offered = True, False
        self.allowed: bool | None = None  # None: it has not said; that permits nothing

    def _forget_insulation(self) -> None:
        self.measuring = self.self_test_asked = False

    # ---------------------------------------------------------------------------------------------- what it says
    def take(self, now: float, topic: str, payload: bytes) -> None:
        """A message of EVerest that arrived at `now` (s)."""
        said = self._modules.said(topic)
        if said is None or said not in _KINDS:
            return  # of another device, or of a part of the API that a DC charger has no use for
        kind, wanted = said[0], _KINDS[said]
        value: Any = None
        if wanted is not None:
            try:
                if len(payload) > MAX_BYTES:
                    raise ValueError(f"{len(payload)} bytes are too many")
                value = msgspec.json.decode(payload, type=wanted)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                self._refuse(said, error)
                return
        if kind not in self._heard:
            self.restarted = True  # what was told before it was on the broker reached nobody
        self._heard[kind] = now
        self._obey(said, value)

    def _refuse(self, said: tuple[str, str], error: Exception) -> None:
        self.bad += 1
        if said not in self._told_bad:
            self._told_bad.add(said)
            self._say(f"EVerest's {said[0]}/{said[1]} is not understood and changes nothing: {error}.")

    def _obey(self, said: tuple[str, str], value: Any) -> None:
        match said:
            case (kind, "heartbeat"):
                self._beat(kind, value)
            case (_, "mode"):
                self._set_mode(value)
            case (_, "export_voltage_current"):
                self._export = value
            case (_, "import_voltage_current"):
                self._import = value
            case (_, "enable"):
                self.enabled = value
            case (_, "pwm_on"):
                self.offered = value > 0.0
            case (_, "cp_state_X1" | "cp_state_E" | "cp_state_F"):
                self.offered = False
            case (_, "allow_power_on"):
                if self.allowed and not value.allow_power_on:
                    self.offered = False  # that offer is used up: whether the car still speaks is not known here
                self.allowed = value.allow_power_on
            case (_, "start"):
                self.measuring = True
            case (_, "stop"):
                self.measuring = False
            case (_, "start_self_test"):
                self.self_test_asked = True
            case (_, "start_transaction" | "stop_transaction"):
                self._no_ocmf(value)
            case (_, "ev_info"):
                self._car = value

    def _set_mode(self, new: ModeRequest) -> None:
        """Off invalidates every set-point, and so does another direction or phase while it is on: EVerest then sends a
        new one. The very first one comes before the mode."""
        was_on = self.mode.mode in ("Export", "Import")
        if new.mode in ("Off", "Fault") or (was_on and new != self.mode):
            self._export = self._import = None
        self.mode = new

    def _beat(self, kind: str, count: int) -> None:
        """The counter of a module that was started again begins anew, and it has forgotten us."""
        before = self._beats.get(kind)
        self._beats[kind] = count
        if before is not None and count < before:
            self.restarted = True
            forget = {PSU: self._forget_supply, BSP: self._forget_board, IMD: self._forget_insulation}
            forget.get(kind, lambda: None)()

    def _no_ocmf(self, call: Call) -> None:
        """Signed meter values (OCMF) need a meter that signs."""
        if call.headers.reply_to is not None:
            answer = {"status": "NOT_SUPPORTED", "error": "this meter signs nothing"}
            self.replies.append((call.headers.reply_to, json.dumps(answer)))

    # --------------------------------------------------------------------------------------------- what it means
    @property
    def heard_t(self) -> float | None:
        """When the module was heard that has been silent for longest; None: not every one was heard yet."""
        times = [self._heard.get(kind) for kind in LIVING]
        known = [t for t in times if t is not None]
        return min(known) if len(known) == len(times) else None

    def status(self, now: float, *, plugged: bool, closed: bool) -> Reading[CarStatus] | None:
        """EVerest's wishes, and the time that guard judges its silence by; None while it was never heard.

        plugged: the pilot shows a car. closed: the charger's contactor is closed by its mirror contact.
        """
        if not plugged:
            self._car = EvInfo()  # the next plug may be another car's
        heard = self.heard_t
        if heard is None:
            return None
        t = min(now, heard + GRACE_HEARTBEATS * self._heartbeat_s)
        phase = self._phase(plugged, closed)
        car, export, take = self._car, self._export, self._import
        target_v = high_a = low_a = floor_v = 0.0
        top_v = car.maximum_voltage_limit or 0.0
        if phase is CarPhase.PRECHARGE and export is not None:
            target_v = export.voltage_V
        elif phase is CarPhase.TRANSFER:
            if self.mode.mode == "Export" and export is not None:
                target_v, high_a = export.voltage_V, max(0.0, export.current_A)  # below zero it is no charging at all
                top_v = top_v or export.voltage_V
            elif self.mode.mode == "Import" and take is not None:
                low_a, floor_v = -abs(take.current_A), take.voltage_V
        status = CarStatus(
            phase=phase,
            target_v=target_v,
            i_max_a=high_a,
            i_min_a=low_a,
            v_max_v=top_v,
            v_min_v=floor_v,
            soc_pct=car.soc,
            capacity_wh=car.battery_capacity or None,
        )
        return Reading(status, t)

    def _phase(self, plugged: bool, closed: bool) -> CarPhase:
        if not self.allowed or not self.enabled:
            if closed:
                return CarPhase.ENDING
            return CarPhase.WAIT if self.offered and plugged and self.enabled else CarPhase.NONE
        if self.mode.charging_phase == "Charging":
            return CarPhase.TRANSFER  # also while it is off: no current, and the contactors stay closed
        if self.mode.charging_phase == "PreCharge" and self.mode.mode == "Export" and self._export is not None:
            return CarPhase.PRECHARGE
        return CarPhase.INSULATION
