"""What EVerest is told of the charger. Pure: `Charger` in, topics and payloads out.

Signs are EVerest's: a power supply that discharges the car reports a negative current; a meter's import is from the
grid.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from firmware.bridges.everest.peer import Peer
from firmware.bridges.everest.topics import BSP, IMD, METER, PSU, Modules

CHECK_S = 0.4  # EVerest's `cfg_communication_check_to_s` is 5 s by default and 1 s at least
VALUES_S = 0.2  # 1 Hz is demanded, 4 Hz recommended (interface power_supply_DC)
SLOW_S = 1.0  # meter, insulation
AGAIN_S = 5.0  # what does not change is told again, for nothing is retained; own choice
MIN_V = 150.0  # V, as every car is told; the module's own limit holds in guard
HIGHEST_OHM = 1e7  # above it a monitor tells nothing; JSON has no infinity
AC_MARGIN = 1.1  # AC current above that of the DC rating: losses, and low mains voltage; own choice

Message = tuple[str, str]  # topic, payload


@dataclass(frozen=True, slots=True)
class Ratings:
    """What the board is built for (W, A, V; magnitudes). nominal_v: grid, phase to neutral."""

    charge_w: float
    discharge_w: float
    current_a: float
    voltage_v: float
    nominal_v: float


@dataclass(frozen=True, slots=True)
class Charger:
    """The charger as EVerest may know it. Signs are ours: + charges the car.

    pilot: state letter, or anything else while it is unknown. in_session: voltage or current may be on the cable.
    broken: no session can begin or go on, in one sentence; empty: nothing is missing. stop: the car is asked to end.
    self_test: of the insulation monitor in this session.
    """

    v_v: float
    i_a: float
    pilot: str
    closed: bool
    on: bool
    charging: bool  # direction of the converter
    in_session: bool
    in_transfer: bool
    stop: bool
    broken: str
    estop: bool
    contactor_fault: bool
    charge_max_a: float
    charge_max_w: float
    discharge_max_a: float
    discharge_max_w: float
    v_max_v: float
    insulation_ohm: float | None
    self_test: Literal["running", "passed", "failed"]
    charged_wh: float
    discharged_wh: float


class Teller:
    """Says what changed at once and everything else in its own rhythm."""

    def __init__(self, modules: Modules, ratings: Ratings, name: str, wall_text: Callable[[], str]) -> None:
        """name: of the meter. wall_text: the present time as RFC 3339 has it."""
        self._modules, self._ratings, self._name, self._wall_text = modules, ratings, name, wall_text
        self._due: dict[str, float] = {}
        self._last: dict[str, object] = {}
        self._errors: dict[tuple[str, str], str] = {}
        self._stop_told = False

    def again(self) -> None:
        """EVerest knows nothing of us: all of it anew."""
        self._due.clear()
        self._last.clear()
        self._errors.clear()
        self._stop_told = False

    def messages(self, now: float, charger: Charger, peer: Peer) -> list[Message]:
        """What is to be said at `now` (s). Call it with every fresh state of the charger, and never with an old one:
        that we fall silent is how EVerest learns that nobody knows the truth."""
        said: list[Message] = []

        def tell(kind: str, name: str, payload: Any) -> None:
            said.append((self._modules.to_everest(kind, name), json.dumps(payload, allow_nan=False)))

        if self._every("check", now, CHECK_S):
            for kind in (PSU, BSP, IMD, METER):
                tell(kind, "communication_check", True)
        self._tell_errors(charger, tell)
        self._tell_board(now, charger, peer, tell)
        self._tell_supply(now, charger, tell)
        self._tell_insulation(now, charger, peer, tell)
        if self._every("meter", now, SLOW_S):
            tell(METER, "powermeter_values", self._meter(charger))
        return said

    def _every(self, what: str, now: float, period_s: float) -> bool:
        if now < self._due.get(what, -math.inf) - 1e-6:
            return False
        self._due[what] = now + period_s
        return True

    def _new(self, what: str, value: object) -> bool:
        if self._last.get(what) == value:
            return False
        self._last[what] = value
        return True

    def _worth(self, what: str, value: object, now: float, period_s: float) -> bool:
        """It is new, or was not told for so long."""
        if self._new(what, value):
            self._due[what] = now + period_s
            return True
        return self._every(what, now, period_s)

    # -------------------------------------------------------------------------------------------------- the parts
    def _tell_supply(self, now: float, c: Charger, tell: Callable[[str, str, Any], None]) -> None:
        mode = "Off" if not c.on else "Export" if c.charging else "Import"
        changed = self._last.get("mode") != mode
        if self._worth("mode", mode, now, SLOW_S):
            tell(PSU, "mode", mode)
        limits = self.capabilities(c)
        if self._worth("limits", limits, now, AGAIN_S):
            tell(PSU, "capabilities", limits)
        if self._every("values", now, VALUES_S) or changed:
            tell(PSU, "voltage_current", {"voltage_V": round(c.v_v, 2), "current_A": round(c.i_a, 3)})

    def capabilities(self, c: Charger) -> dict[str, Any]:
        """Nominal: the ratings. The others: in power transfer what is permitted now, rounded down, so that less is
        asked for; before it the ratings, or the cable check's 2 A would be cut to nothing. Minimum currents are zero:
        EVerest raises a smaller request to the minimum."""
        r = self._ratings
        live = c.in_transfer
        charge_a = _down(c.charge_max_a if live else r.current_a, r.current_a)
        charge_w = _down(c.charge_max_w if live else r.charge_w, r.charge_w, 100.0)
        give = r.discharge_w > 0.0
        discharge_a = _down(c.discharge_max_a if live else r.current_a, r.current_a) if give else 0.0
        discharge_w = _down(c.discharge_max_w if live else r.discharge_w, r.discharge_w, 100.0) if give else 0.0
        top_v = _down(c.v_max_v or r.voltage_v, r.voltage_v)
        told: dict[str, Any] = {
            "bidirectional": give,
            "current_regulation_tolerance_A": 0.5,  # of guard's and the module's set-point together; own choice
            "peak_current_ripple_A": 1.0,  # not measured on this module; told to the car only
        }
        for way, amps, watts, rated_w in (
            ("export", charge_a, charge_w, r.charge_w),
            ("import", discharge_a, discharge_w, r.discharge_w),
        ):
            told |= {
                f"max_{way}_voltage_V": top_v,
                f"min_{way}_voltage_V": MIN_V,
                f"max_{way}_current_A": amps,
                f"min_{way}_current_A": 0.0,
                f"max_{way}_power_W": watts,
                f"nominal_max_{way}_voltage_V": r.voltage_v,
                f"nominal_min_{way}_voltage_V": MIN_V,
                f"nominal_max_{way}_current_A": r.current_a if rated_w else 0.0,
                f"nominal_min_{way}_current_A": 0.0,
                f"nominal_max_{way}_power_W": rated_w,
            }
        return told

    def _tell_board(self, now: float, c: Charger, peer: Peer, tell: Callable[[str, str, Any], None]) -> None:
        if self._every("hardware", now, AGAIN_S):
            # For a DC charger these are limits of its AC side; too small ones cut the DC power (EVerest issue 2291).
            amps = {w: math.ceil(w / 3.0 / self._ratings.nominal_v * AC_MARGIN) for w in self._both_w()}
            charge_w, discharge_w = self._both_w()
            told: dict[str, Any] = {"supports_changing_phases_during_charging": False, "supports_cp_state_E": False}
            told["connector_type"] = "IEC62196Type2Cable"
            for way, watts in (("import", charge_w), ("export", discharge_w)):
                told |= {f"max_current_A_{way}": amps[watts], f"min_current_A_{way}": 0}
                told |= {f"max_phase_count_{way}": 3, f"min_phase_count_{way}": 3}
            tell(BSP, "capabilities", told)
        if c.pilot in ("A", "B", "C", "D", "E", "F") and self._new("pilot", c.pilot):
            tell(BSP, "event", {"event": c.pilot})
        if self._new("contactor", c.closed):
            tell(BSP, "event", {"event": "PowerOn" if c.closed else "PowerOff"})
        if peer.allowed is False:
            self._stop_told = False  # it ended the session itself
        elif c.stop and (peer.allowed or c.closed) and not c.broken and not self._stop_told:
            self._stop_told = True
            tell(BSP, "request_stop_transaction", {"reason": "Local"})

    def _both_w(self) -> tuple[float, float]:
        return self._ratings.charge_w, self._ratings.discharge_w

    def _tell_insulation(self, now: float, c: Charger, peer: Peer, tell: Callable[[str, str, Any], None]) -> None:
        if peer.self_test_asked and c.self_test != "running":
            peer.self_test_asked = False
            tell(IMD, "self_test_result", c.self_test == "passed")
        if peer.measuring and c.insulation_ohm is not None and self._every("insulation", now, SLOW_S):
            ohm = c.insulation_ohm
            known = min(max(ohm, 0.0), HIGHEST_OHM) if not math.isnan(ohm) else 0.0
            tell(IMD, "isolation_measurement", {"resistance_F_Ohm": known, "voltage_V": round(c.v_v, 1)})

    def _tell_errors(self, c: Charger, tell: Callable[[str, str, Any], None]) -> None:
        """An error stops EVerest's session and holds the next one back until it is cleared."""
        wanted: dict[tuple[str, str], str] = {}
        if c.broken:
            wanted[PSU, "VendorError"] = c.broken[:500]
        if c.estop:
            wanted[BSP, "MREC8EmergencyStop"] = "The emergency stop is pressed."
        if c.contactor_fault:
            wanted[BSP, "MREC17EVSEContactorFault"] = "A contactor did not do what it was told."
        for kind, name in [known for known in self._errors if known not in wanted]:
            tell(kind, "clear_error", {"type": name, "message": self._errors.pop((kind, name))})
        for (kind, name), text in wanted.items():
            if (kind, name) not in self._errors:
                self._errors[kind, name] = text
                tell(kind, "raise_error", {"type": name, "message": text})

    def _meter(self, c: Charger) -> dict[str, Any]:
        return {
            "timestamp": self._wall_text(),
            "meter_id": self._name,
            "energy_Wh_import": {"total": round(c.charged_wh, 1)},
            "energy_Wh_export": {"total": round(c.discharged_wh, 1)},
            "power_W": {"total": round(c.v_v * c.i_a, 1)},
            "voltage_V": {"DC": round(c.v_v, 2)},
            "current_A": {"DC": round(c.i_a, 3)},
        }


def _down(value: float, most: float, step: float = 0.1) -> float:
    """Never more than `value` and `most`, in steps: a limit that trembles is not told ten times a second."""
    if not math.isfinite(value) or value <= 0.0:
        return 0.0
    return round(math.floor(min(value, most) / step + 1e-6) * step, 3)
