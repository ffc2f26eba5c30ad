"""The faults that the rig offers to an audience: names, words and ranges for a panel, and the rig's commands for each.

Pure. The panel (the service screen, or anything else on rig.sock) asks for the list and draws it; it needs to know
nothing of the rig. What each command does stands in docs/rig.md and in the devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Commands = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Param:
    """One number or choice of a fault. low, high: both allowed."""

    name: str
    title: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    default: float | str = 0.0
    choices: tuple[str, ...] = ()

    def checked(self, value: Any) -> float | str:
        """Raises ValueError with a sentence."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} is {value!r}, must be one of {', '.join(self.choices)}")
            return str(value)
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not self.low <= value <= self.high:
            raise ValueError(f"{self.name} is {value!r}, must be {self.low:g} to {self.high:g} {self.unit}".rstrip())
        return float(value)


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    group: str
    title: str
    text: str
    make: Callable[[Mapping[str, Any]], Commands]
    params: tuple[Param, ...] = ()
    mends: bool = False  # it ends others

    def commands(self, values: Mapping[str, Any]) -> Commands:
        """The rig's commands for these values; what is not given has its default. Raises ValueError."""
        known = {param.name: param for param in self.params}
        for name in values:
            if name not in known:
                raise ValueError(f"{self.name} has no {name!r}; it has {', '.join(known) or 'no parameters'}")
        return self.make({name: p.checked(values.get(name, p.default)) for name, p in known.items()})


def _plant(**command: Any) -> Commands:
    return [{"plant": command}]


def _field(name: str, value: float) -> Commands:
    return _plant(field=name, value=value)


def _device(name: str, **command: Any) -> Commands:
    return [{"device": name, **command}]


def _frequency(f_hz: float) -> Fault:
    return Fault(
        "frequency", "Grid", "Frequency", "The frequency moves and stays there until the grid is well again.",
        lambda v: _plant(f_hz=v["f_hz"], ramp_s=v["ramp_s"]),
        (Param("f_hz", "Frequency", "Hz", f_hz - 5.0, f_hz + 5.0, f_hz - 3.0),
         Param("ramp_s", "Ramp", "s", 0.0, 600.0, 2.0)),
    )  # fmt: skip


def faults(v_v: float, f_hz: float | None) -> tuple[Fault, ...]:
    """All faults. v_v, f_hz: what the grid has when nothing is wrong (V phase to neutral, Hz); f_hz None: the grid is a
    recording, whose frequency nobody can move."""
    duration = Param("duration_s", "Duration", "s", 0.02, 600.0, 0.3)
    phases = Param("phases", "Phases", default="abc", choices=("abc", "a", "b", "c", "ab", "bc", "ca"))
    return (
        Fault(
            "sag", "Grid", "Voltage sag", "The voltage falls to a share of what it was, for a while.",
            lambda v: _plant(sag=v["residual"], duration_s=v["duration_s"], phases=v["phases"]),
            (Param("residual", "Residual voltage", "pu", 0.0, 0.95, 0.3), duration, phases),
        ),
        Fault(
            "swell", "Grid", "Voltage swell", "The voltage rises, for a while.",
            lambda v: _plant(sag=v["share"], duration_s=v["duration_s"], phases=v["phases"]),
            (Param("share", "Voltage", "pu", 1.05, 1.4, 1.3), duration, phases),
        ),
        *(() if f_hz is None else (_frequency(f_hz),)),
        Fault(
            "jump", "Grid", "Phase jump", "The phase angle of all three phases jumps.",
            lambda v: _plant(jump_deg=v["degrees"]),
            (Param("degrees", "Angle", "°", -180.0, 180.0, 30.0),),
        ),
        Fault(
            "island", "Grid", "Island", "The grid is switched off; a resonant load of this power stays behind.",
            lambda v: [*_plant(island_w=v["load_w"], qf=v["qf"]), *_field("grid_switch_open", 1.0)],
            (Param("load_w", "Load", "W", 0.0, 100_000.0, 7000.0), Param("qf", "Quality factor", "", 0.1, 10.0, 1.0)),
        ),
        Fault(
            "grid_well", "Grid", "Grid is well again", "Sag, island and frequency end; nominal voltage and frequency.",
            lambda v: [*_plant(end_sag=True), *_field("grid_switch_open", 0.0), *_plant(island_w=0.0),
                       *([] if f_hz is None else _plant(v_v=v_v, f_hz=f_hz))], mends=True),
        Fault(
            "can_lost", "Converter", "CAN lost", "The converter is deaf and mute on its bus.",
            lambda v: _device("converter", mute=True, deaf=True),
        ),
        Fault(
            "converter_reset", "Converter", "Converter restarts", "It loses what it was told and boots.",
            lambda v: _device("converter", reset=True),
        ),
        Fault(
            "converter_well", "Converter", "Converter is well again", "Every fault of the converter ends.",
            lambda v: _device("converter", clear=True), mends=True),
        Fault(
            "stuck_dc", "Contactors", "DC contactor stuck open", "It does not close any more.",
            lambda v: _field("stuck_dc", 1.0),
        ),
        Fault(
            "weld_dc", "Contactors", "DC contactor welded", "It does not open any more.",
            lambda v: _field("weld_dc", 1.0),
        ),
        Fault(
            "weld_grid", "Contactors", "Grid contactor welded", "It does not open any more.",
            lambda v: _field("weld_grid", 1.0),
        ),
        Fault(
            "contactors_well", "Contactors", "Contactors are well again", "Nothing is stuck or welded.",
            lambda v: [*_field("stuck_dc", 0.0), *_field("weld_dc", 0.0), *_field("weld_grid", 0.0)], mends=True),
        Fault(
            "leak", "Safety", "Insulation leak", "A resistance to protective earth; 0 takes it away.",
            lambda v: _field("leak_ohm", v["ohm"]),
            (Param("ohm", "Resistance", "Ω", 0.0, 1e9, 20_000.0),),
        ),
        Fault("estop", "Safety", "Emergency stop", "Somebody presses the button.", lambda v: _field("estop", 1.0)),
        Fault(
            "estop_released", "Safety", "Emergency stop released", "Somebody turns the button back.",
            lambda v: _field("estop", 0.0), mends=True),
        Fault("plug_in", "Car", "Plug in", "A car comes.", lambda v: _device("car", plug_in=True), mends=True),
        Fault("unplug", "Car", "Unplug", "The car goes, whatever flows.", lambda v: _device("car", unplug=True)),
    )  # fmt: skip


def shown(fault: Fault) -> dict[str, Any]:
    """For a panel."""
    return {
        "name": fault.name,
        "group": fault.group,
        "title": fault.title,
        "text": fault.text,
        "mends": fault.mends,
        "params": [
            {"name": p.name, "title": p.title, "unit": p.unit, "low": p.low, "high": p.high, "default": p.default,
             "choices": list(p.choices)}
            for p in fault.params
        ],
    }  # fmt: skip
