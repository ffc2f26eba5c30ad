"""Every field of the status document: what it means. docs/status-reference.md is made from here.

    python -m firmware.status_fields > docs/status-reference.md

The tables below stand beside the types that they describe; a test compares the two, field by field, and looks at the
status of a running charger as well. Units are the suffixes of the names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from firmware.recorder.trip_record import unit

STATUS = {
    "board": "Name of the board.",
    "title": "The board in one line, for people.",
    "emulated": "True: every device is emulated.",
    "snapshot": "All that guard knows; null until it has reported.",
    "age_s": "Age of the snapshot; above 1 guard is silent and what is shown is old. null: it has never reported.",
    "request": "The request for power that counts; null when the board's own wish counts.",
    "energy": "The energy registers.",
    "problems": "Sentences about what services themselves miss: devices, records, guard.",
    "can_log": "Where the CAN log goes, or null. Not in `watch`.",
    "services": "How services are doing. Not in `watch`.",
}
REQUEST = {
    "id": "Rises with each request; 0 is never used here.",
    "source": "Who asks.",
    "power_w": "What is asked: + charges, - discharges.",
    "until_s": "Monotonic time at which it ends.",
    "reason": "Why, in the words of who asks.",
    "sleep": "While no power flows the converter is to be off, behind closed contactors.",
    "remaining_s": "Until it ends.",
}
ENERGY = {
    "charged_wh": "Register of what went into the car, DC side; never goes back, never netted.",
    "discharged_wh": "Register of what came out of the car.",
    "session": "The running session with its own `charged_wh` and `discharged_wh`, its `number` and `started_wall_s` "
    "(s since the epoch); null without one.",
}
SERVICES = {
    "version": "Of the software.",
    "records_waiting": "Records that are not on the disk yet.",
    "records_lost": "Records given up since services started, because the disk refused for too long.",
    "unread_trips": "Disturbance records of trips that nobody has read; null while the file cannot be read.",
    "not_sent": "Messages that guard's queue did not take since services started.",
    "bad": "Packets from guard that were no message since services started.",
    "clients": "Connections to the control socket, this one among them.",
}
SNAPSHOT = {
    "type": "Always `snapshot`.",
    "t": "When it was made, monotonic s.",
    "boot": "Identity of this guard process; its energy counters and ticks began at zero with it.",
    "tick": "Control periods since guard started.",
    "state": "The charger's state (docs/architecture.md): one of `idle`, `connected`, `cable check: ...`, `precharge`, "
    "`transfer: holding`, `transfer: charging`, `transfer: discharging`, `transfer: through zero`, `ramp down`, "
    "`open contactors`, `weld check`, `finished`, `fault`.",
    "state_since": "Monotonic time at which the state began, s.",
    "grid_state": "`waiting to enter service`, `connected`, `riding through`, `ceased` or `tripped`.",
    "why": "One sentence: what the charger does and why.",
    "grid_reason": "One sentence: why the grid state.",
    "grid_clause": "The clause of the grid code behind it.",
    "enter_service_remaining_s": "Until the charger may enter service; 0 when nothing runs.",
    "asked_w": "What guard is asked for, + charge; 0 without a lease.",
    "asked_by": "Who asks; empty without a request.",
    "asked_reason": "Why, in the words of who asks.",
    "lease_s": "Until guard forgets the request that it has.",
    "permitted_w": "What is left of what is asked, after every limit.",
    "limited_by": "Which limiter won, in a sentence; empty when the request passes whole.",
    "limits": "The set-point stack: a list of limits.",
    "measured_w": "DC power by the converter's voltage and current, + charge; null while unknown.",
    "grid_v": "The pilot MCU's phase voltages to neutral (L1, L2, L3), r.m.s.; null while it is silent.",
    "grid_f_hz": "The pilot MCU's frequency.",
    "converter_grid_v": "The converter's own phase voltages; null when older than 1 s.",
    "converter_grid_f_hz": "The converter's own frequency.",
    "converter_online": "The converter answers.",
    "converter_ready": "It may be switched on: online, its limits read, no fault.",
    "converter_on": "Its DC side runs, as it says.",
    "converter_direction": "`charge`, `discharge` or `unconfirmed`: by echo and read-back.",
    "converter_temp_c": "The hottest place that it reports; null when older than 10 s.",
    "p_ac_w": "AC power by the converter, + drawn from the grid; null when older than 2 s.",
    "v_dc_v": "DC voltage by the converter; null when stale.",
    "i_dc_a": "DC current by the converter, + into the car; null when stale.",
    "i_set_a": "Commanded current, a magnitude.",
    "cp": "State of the control pilot, A to F, or `UNKNOWN`.",
    "contactor_grid": "The mirror contact of the grid contactor says closed.",
    "contactor_dc": "The mirror contact of the DC contactors says closed.",
    "contactor_precharge": "The mirror contact of the precharge relay says closed.",
    "estop": "The emergency stop is pressed.",
    "insulation_ohm": "Insulation of the DC side to protective earth; null while nothing fresh is known.",
    "car_phase": "What the car's side asks for, or `silent`.",
    "soc_pct": "State of charge, as the car says; null while it does not. Never 0 for unknown.",
    "charged_wh": "Since this guard started, DC side; the registers are in `energy`.",
    "discharged_wh": "As `charged_wh`, out of the car.",
    "faults": "Codes of the faults that are present, the worst first; docs/events.md has their remedies.",
    "trip": "The last trip of grid protection; null before the first.",
    "elements": "The elements of grid protection, the closest to operating first.",
    "late_p99_us": "99 % of the last 1000 wake-ups of guard were at most this late.",
    "late_max_us": "The latest wake-up since guard started.",
    "missed": "Control periods skipped since guard started.",
    "realtime": "What the machine permits guard, or what it refused.",
    "bus_load": "Share of the converter's CAN bus that polls and answers take, 0 to 1.",
    "i_charge_max_a": "What the car is told it may draw.",
    "i_discharge_max_a": "What the car is told it may give, a magnitude.",
    "v_max_v": "What the car is told is the highest voltage.",
    "ready": "The car is told that power may flow.",
    "stop": "The car is asked to end the session.",
    "self_test_serial": "The insulation monitor's self-test is run when this rises.",
    "down": "Shut down as asked: no power, contactors open.",
    "dropped": "Messages that services did not read in time since guard started.",
    "latched": "Those of `faults` that stay until an operator clears them.",
    "q_ac_var": "Reactive power by the converter, + absorbed; null when older than 2 s.",
    "tan_phi": "Reactive power commanded, as a share of the active power, + absorbing.",
    "reactive_by": "The support function that plans reactive power, with its clause; empty without one.",
    "ages_s": "How old the values are, s, by source: `grid`, `converter_grid`, `p_ac`, `q_ac`, `dc`, `temperature`, "
    "`pilot`, `cp`, `insulation`, `car`; what never came is not there.",
}
LIMIT = {
    "source": "Who limits: `rating`, `current`, `converter`, `car`, `grid`, `fault` or a support function.",
    "reason": "Why it limits.",
    "charge_w": "What it leaves for charging, a magnitude; null: this way it does not limit.",
    "discharge_w": "What it leaves for discharging, a magnitude; null: this way it does not limit.",
    "until_s": "Monotonic time at which it ends; null: nobody knows.",
    "clause": "The clause of the grid code behind it, or empty.",
}
TRIP = {
    "element": "Which element tripped, as the profile names it.",
    "source": "Which of the two measurements it acted on.",
    "phase": "Which phase, or empty.",
    "value": "What was measured then, in `unit`.",
    "threshold": "What it was compared with.",
    "unit": "`pu`, `Hz` or `Hz/s`.",
    "delay_s": "How long the condition had to last inside.",
    "t_start": "Monotonic time at which the condition began, s.",
    "t": "Monotonic time of the trip, s.",
    "clause": "The clause that asks for it.",
    "text": "All of it in a sentence.",
}
ELEMENT = {
    "element": "Its name in the profile.",
    "source": "Which of the two measurements.",
    "value": "What is measured now, in `unit`; null while nothing is.",
    "threshold": "At which it begins to count.",
    "unit": "`pu`, `Hz` or `Hz/s`.",
    "margin": "How far the value is from the threshold; below 0 it is beyond.",
    "timer_s": "How long it has counted.",
    "delay_s": "At how much it trips.",
    "clause": "The clause that asks for it.",
}
TABLES: dict[str, Mapping[str, str]] = {
    "The document": STATUS,
    "`request`": REQUEST,
    "`energy`": ENERGY,
    "`services`": SERVICES,
    "`snapshot`": SNAPSHOT,
    "`snapshot.limits`": LIMIT,
    "`snapshot.trip`": TRIP,
    "`snapshot.elements`": ELEMENT,
}

HEAD = """# Status reference

Made by `make docs` from `firmware/status_fields.py`: do not edit.

The answer of the [control socket](control-socket.md) to `{"command": "status"}` (`quadrant status --json`) and the
state messages of `watch`. `null` is what is not known, never zero. Signs: + charges the car, - discharges it; reactive
power + absorbs. Monotonic times are seconds of CLOCK_MONOTONIC of the charger. [metrics.md](metrics.md) has the same as
Prometheus metrics.
"""


def _unit(name: str) -> str:
    return {"t": "s", "t_start": "s", "state_since": "s", "bus_load": "", "age_s": "s"}.get(name, unit(name))


def render() -> str:
    """The document."""
    parts = [HEAD]
    for title, fields in TABLES.items():
        parts.append(f"\n## {title}\n\n| Field | Unit | Meaning |\n|---|---|---|\n")
        parts += [f"| `{name}` | {_unit(name)} | {text} |\n" for name, text in fields.items()]
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(render())
