"""The status document as Prometheus metrics: text format 0.0.4, as `/metrics` and `quadrant metrics` give it. Pure.

Names follow Prometheus' conventions: base units spelled out, `_total` for what only rises, `_ratio` from 0 to 1. So
energy is in joules (1 Wh = 3600 J), which `rate()` turns into watts; state of charge is a ratio. Powers and currents
are signed as everywhere here: + charges the car, - discharges it. What is not known has no sample: never a zero.
Counters of guard begin at zero with each guard process, as `rate()` expects; the energy registers never go back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
JOULES_PER_WH = 3600.0
_MARGINS = {
    "pu": ("quadrant_protection_voltage_margin_ratio", "nominal voltages"),
    "Hz": ("quadrant_protection_frequency_margin_hertz", "hertz"),
    "Hz/s": ("quadrant_protection_rocof_margin_hertz_per_second", "hertz per second"),
}

Labels = Mapping[str, str]
Sample = tuple[Labels, float | None]
Family = tuple[str, str, str, Iterable[Sample]]  # name, type, help, samples


def render(status: Mapping[str, Any]) -> str:
    """status: the answer of the control socket's `status` (docs/status-reference.md)."""
    lines: list[str] = []
    for name, kind, text, samples in _families(status):
        shown = [
            f"{name}{_labels(labels)} {_number(value)}"
            for labels, value in samples
            if value is not None and not (isinstance(value, float) and math.isnan(value))
        ]
        if shown:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *shown]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _families(status: Mapping[str, Any]) -> Iterator[Family]:
    snapshot: Mapping[str, Any] | None = status.get("snapshot")
    yield from _services(status)
    if snapshot is not None:
        for families in (_state, _power, _grid, _dc, _protection, _guard):
            yield from families(snapshot)


def _one(name: str, text: str, value: float | None, kind: str = "gauge") -> Family:
    return name, kind, text, [({}, value)]


def _services(status: Mapping[str, Any]) -> Iterator[Family]:
    own = status.get("services") or {}
    about = {"version": str(own.get("version", "")), "board": str(status.get("board", ""))}
    yield "quadrant_build_info", "gauge", "Always 1; what runs here.", [(about, 1.0)]
    yield _one("quadrant_snapshot_age_seconds", "Age of what guard said last; above 1 guard is silent.",
               status.get("age_s"))  # fmt: skip
    yield _one("quadrant_problems", "What services miss, in number; `quadrant status` says it in words.",
               len(status.get("problems", ())))  # fmt: skip
    energy = status.get("energy") or {}
    for way, what in (("charged", "into the car"), ("discharged", "out of the car")):
        wh = energy.get(f"{way}_wh")
        yield _one(f"quadrant_energy_{way}_joules_total", f"Energy register, DC side: what went {what}. Never netted.",
                   None if wh is None else wh * JOULES_PER_WH, "counter")  # fmt: skip
    session = energy.get("session") or {}
    for way, what in (("charged", "into the car"), ("discharged", "out of the car")):
        wh = session.get(f"{way}_wh")
        yield _one(f"quadrant_session_{way}_joules", f"Energy of the running session {what}.",
                   None if wh is None else wh * JOULES_PER_WH)  # fmt: skip
    yield _one("quadrant_records_waiting", "Records that are not on the disk yet.", own.get("records_waiting"))
    yield _one("quadrant_records_lost_total", "Records given up since services started.", own.get("records_lost"),
               "counter")  # fmt: skip
    yield _one("quadrant_records_unread_trips", "Disturbance records of trips that nobody has read.",
               own.get("unread_trips"))  # fmt: skip
    yield _one("quadrant_control_clients", "Clients of the control socket.", own.get("clients"))
    yield _one("quadrant_messages_not_sent_total", "Messages that guard's queue did not take.", own.get("not_sent"),
               "counter")  # fmt: skip
    yield _one("quadrant_messages_bad_total", "Packets from guard that were no message.", own.get("bad"), "counter")


def _state(s: Mapping[str, Any]) -> Iterator[Family]:
    yield "quadrant_state", "gauge", "1 for the charger's state.", [({"state": s["state"]}, 1.0)]
    yield (
        "quadrant_grid_state",
        "gauge",
        "1 for the charger's relation to the grid.",
        [({"state": s["grid_state"]}, 1.0)],
    )
    yield (
        "quadrant_fault_active",
        "gauge",
        "1 for each fault that is present.",
        [({"code": code}, 1.0) for code in s["faults"]],
    )
    yield _one("quadrant_faults", "Faults that are present.", len(s["faults"]))
    yield _one("quadrant_faults_latched", "Those of them that an operator must clear.", len(s["latched"]))
    yield _one("quadrant_emergency_stop", "1 while the emergency stop is pressed.", float(s["estop"]))
    yield _one("quadrant_enter_service_remaining_seconds", "Until the charger may enter service.",
               s["enter_service_remaining_s"])  # fmt: skip
    yield (
        "quadrant_contactor_closed",
        "gauge",
        "1 when the mirror contact says closed.",
        [({"contactor": name}, float(s[f"contactor_{name}"])) for name in ("grid", "dc", "precharge")],
    )
    yield _one("quadrant_lease_remaining_seconds", "Until guard forgets the request that it has.", s["lease_s"])
    soc = s["soc_pct"]
    yield _one("quadrant_state_of_charge_ratio", "Of the car's battery, as the car says.",
               None if soc is None else soc / 100.0)  # fmt: skip


def _power(s: Mapping[str, Any]) -> Iterator[Family]:
    sign = "+ charges the car, - discharges it."
    yield _one("quadrant_asked_power_watts", f"What is asked for. {sign}", s["asked_w"])
    yield _one("quadrant_permitted_power_watts", f"What is left of it after every limit. {sign}", s["permitted_w"])
    yield _one("quadrant_dc_power_watts", f"Measured at the DC terminals. {sign}", s["measured_w"])
    yield _one("quadrant_ac_power_watts", f"Measured by the converter on the AC side. {sign}", s["p_ac_w"])
    yield _one("quadrant_ac_reactive_power_vars", "Measured by the converter. + absorbs, - injects.", s["q_ac_var"])
    for way in ("charge", "discharge"):
        yield (
            f"quadrant_limit_{way}_watts", "gauge", f"What each limiter leaves of {way} power, as a magnitude.",
            [({"source": source}, value) for source, value in _least(s["limits"], f"{way}_w")],
        )  # fmt: skip


def _least(limits: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[str, float | None]]:
    """The lowest of each source: one source may set several limits."""
    found: dict[str, float] = {}
    for limit in limits:
        value = limit[key]
        if value is not None:  # JSON has no infinity: such a limiter limits the other way only
            found[limit["source"]] = min(found.get(limit["source"], math.inf), value)
    yield from found.items()


def _grid(s: Mapping[str, Any]) -> Iterator[Family]:
    for prefix, key, who in (
        ("quadrant_grid", "grid", "pilot MCU on the grid's side of the contactor"),
        ("quadrant_converter_grid", "converter_grid", "converter"),
    ):
        volts = s[f"{key}_v"] or ()
        yield (
            f"{prefix}_volts",
            "gauge",
            f"Phase to neutral, r.m.s., measured by the {who}.",
            [({"phase": f"l{number}"}, value) for number, value in enumerate(volts, 1)],
        )
        yield _one(f"{prefix}_frequency_hertz", f"Measured by the {who}.", s[f"{key}_f_hz"])


def _dc(s: Mapping[str, Any]) -> Iterator[Family]:
    yield _one("quadrant_dc_volts", "At the converter's DC terminals.", s["v_dc_v"])
    yield _one("quadrant_dc_amperes", "+ into the car, - out of it.", s["i_dc_a"])
    yield _one("quadrant_dc_set_amperes", "Commanded, as a magnitude.", s["i_set_a"])
    yield _one("quadrant_insulation_ohms", "Of the DC side to protective earth.", s["insulation_ohm"])
    yield _one("quadrant_converter_online", "1 while the converter answers.", float(s["converter_online"]))
    yield _one("quadrant_converter_on", "1 while its DC side runs.", float(s["converter_on"]))
    yield _one("quadrant_converter_temperature_celsius", "The hottest place that it reports.", s["converter_temp_c"])
    yield _one("quadrant_converter_bus_load_ratio", "Share of the CAN bus that polls and answers take.", s["bus_load"])


def _protection(s: Mapping[str, Any]) -> Iterator[Family]:
    def labels(element: Mapping[str, Any]) -> Labels:
        return {"element": element["element"], "source": element["source"]}

    for unit, (name, what) in _MARGINS.items():
        text = f"How far each protection element is from its threshold, in {what}; below 0 it is beyond."
        yield name, "gauge", text, [(labels(e), e["margin"]) for e in s["elements"] if e["unit"] == unit]

    def ratio(e: Mapping[str, Any]) -> float | None:
        return None if e["timer_s"] is None or not e["delay_s"] else e["timer_s"] / e["delay_s"]

    yield (
        "quadrant_protection_timer_ratio", "gauge", "How much of each element's time has run; at 1 it trips.",
        [(labels(e), ratio(e)) for e in s["elements"]],
    )  # fmt: skip


def _guard(s: Mapping[str, Any]) -> Iterator[Family]:
    us = 1e-6
    yield _one("quadrant_guard_lateness_p99_seconds", "99 % of the last 1000 wake-ups were at most this late.",
               s["late_p99_us"] * us)  # fmt: skip
    yield _one("quadrant_guard_lateness_max_seconds", "The latest wake-up since guard started.", s["late_max_us"] * us)
    yield _one("quadrant_guard_ticks_total", "Control periods since guard started.", s["tick"], "counter")
    yield _one("quadrant_guard_missed_ticks_total", "Control periods skipped since guard started.", s["missed"],
               "counter")  # fmt: skip
    yield _one("quadrant_guard_dropped_messages_total", "Messages that services did not read in time.", s["dropped"],
               "counter")  # fmt: skip
