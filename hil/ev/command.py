"""`quadrant ev`: the driver of the rig's car. Registered through the entry-point group `quadrant.commands`.

Speaks to rig.sock of a running charger on an emulated board; runs in our own environment, unlike the car itself.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from firmware.arguments import add_dir, add_json
from firmware.control_client import ControlError, NoCharger, Refused
from firmware.quantities import QuantityError, duration_s, show_duration

ANSWER_S = 5.0
END_S = 25.0  # a session ends in order: ramp, contactors, weld check, three welding rounds of the car
PROTOCOLS: dict[str, dict[str, Any]] = {
    "20-bpt": {"protocol": "iso20", "v2g": True},
    "20-dc": {"protocol": "iso20", "v2g": False},
    "2": {"protocol": "iso2"},
    "din": {"protocol": "din"},
}
NAMES = {"iso20": "ISO 15118-20", "iso2": "ISO 15118-2 DC", "din": "DIN 70121"}


def _percent(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?%?", text) or float(text.rstrip("%")) > 100.0:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 0 to 100 (percent)")
    return float(text.rstrip("%")) / 100.0


def _amperes(low: float) -> Any:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low - 1.0
        if not low <= value <= 500.0:
            raise argparse.ArgumentTypeError(f"{text.strip()!r}: allowed is {low:g} to 500 A")
        return value

    return parse


def departure_s(text: str, now: datetime) -> float:
    """Seconds until `07:30` (the next one) or `8h`. Raises argparse.ArgumentTypeError with a sentence."""
    clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if clock is not None:
        then = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return (then - now if then > now else then + timedelta(days=1) - now).total_seconds()
    try:
        seconds = duration_s(text)
    except QuantityError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time of day (07:30) nor a duration (8h)") from None
    if seconds > 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: at most 1000000 s")
    return seconds


class RigSocket:
    """A connection to rig.sock. Raises NoCharger without a rig, Refused for a command that it refuses."""

    def __init__(self, run_dir: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(run_dir / "rig.sock"))
        except OSError:
            raise NoCharger(
                f"No emulated rig runs in {run_dir}: `quadrant run --board desk` starts one with its charger."
            ) from None
        self._file = self._socket.makefile("rw")

    def ask(self, **command: Any) -> dict[str, Any]:
        try:
            self._file.write(json.dumps(command) + "\n")
            self._file.flush()
            answer = json.loads(self._file.readline())
        except (OSError, ValueError):
            raise ControlError("The rig does not answer.") from None
        if "error" in answer:
            raise Refused(answer["error"])
        return dict(answer)

    def car(self) -> dict[str, Any]:
        """What the car is and does. Raises ControlError for one that speaks no ISO 15118."""
        try:
            return dict(self.ask(device="car", state=True)["car"])
        except (Refused, KeyError):
            raise ControlError(
                "This charger's car speaks no ISO 15118: its SECC is on CAN or EVerest (desk_can, desk_everest). "
                "docs/rig.md has the commands that it knows."
            ) from None


def wishes(args: argparse.Namespace, car: dict[str, Any]) -> dict[str, Any]:
    """The device's command for what was asked. Raises Refused where it contradicts itself or the car as it is."""
    command: dict[str, Any] = {**PROTOCOLS[args.protocol]} if args.protocol else {}
    for name in ("mode", "tls", "soc_min", "soc_target", "target_a"):
        if getattr(args, name) is not None:
            command[name] = getattr(args, name)
    if args.departure is not None:
        command["departure_s"] = args.departure
    charge_a, discharge_a = car["limits"]
    if args.charge_a is not None or args.discharge_a is not None:
        charge_a = charge_a if args.charge_a is None else args.charge_a
        discharge_a = discharge_a if args.discharge_a is None else args.discharge_a
        command["limits"] = [charge_a, discharge_a]
    protocol = command.get("protocol", car["protocol"])
    if args.mode is not None and protocol != "iso20":
        raise Refused(f"--mode: only ISO 15118-20 has control modes, not {NAMES[protocol]}.")
    if args.tls and protocol == "din":
        raise Refused("--tls: DIN 70121 knows no TLS.")
    low, high = command.get("soc_min", car["soc_min"]), command.get("soc_target", car["soc_target"])
    if low > high:
        raise Refused(f"--min-soc {low:.0%} lies above --target-soc {high:.0%}.")
    return command


def describe(car: dict[str, Any]) -> str:
    """One line on the car."""
    if not car["plugged"]:
        return f"The car is not plugged in; {car['soc']:.0%} charged. Last session: {car['last']}."
    protocol = NAMES[car["protocol"]]
    if car["protocol"] == "iso20":
        protocol += f" {'DC_BPT' if car['v2g'] else 'DC'}, {car['mode'].capitalize()}"
    does = "charges or feeds" if car["charging"] else "negotiates" if car["session"] else "waits"
    return (
        f"The car is plugged in and {does}: {protocol}, {'TLS' if car['tls'] else 'no TLS'}, {car['soc']:.0%} charged "
        f"(wants {car['soc_target']:.0%}, not below {car['soc_min']:.0%}), leaves in "
        f"{show_duration(car['departure_s'])}. Last session: {car['last']}."
    )


def run(args: argparse.Namespace) -> int:
    rig = RigSocket(args.dir)
    car = rig.car()
    command = wishes(args, car)
    if args.action != "plug" and (command or args.soc is not None):
        raise Refused(f"Settings go with `quadrant ev`, not with `quadrant ev {args.action}`.")
    if args.action == "plug":
        begins_anew = args.soc is not None or any(
            name in command and command[name] != car[name] for name in ("protocol", "mode", "v2g", "tls")
        )
        if car["session"] and begins_anew:
            _end_session(rig, as_json=args.json)
        if command:
            rig.ask(device="car", **command)
        if args.soc is not None:
            rig.ask(plant={"soc": args.soc})
        rig.ask(device="car", plug_in=True)
    elif args.action != "show":
        rig.ask(device="car", **{args.action: True})
    time.sleep(0.05)  # the plant's next slice
    car = rig.car()
    print(json.dumps(car) if args.json else describe(car))
    return 0


def _end_session(rig: RigSocket, *, as_json: bool) -> None:
    """What is negotiated at its beginning, and another battery, wait for the end of the session that runs."""
    if not as_json:
        print("The car ends its session first.", flush=True)
    rig.ask(device="car", stop=True)
    until = time.monotonic() + END_S
    while rig.car()["session"]:
        if time.monotonic() > until:
            raise ControlError(f"The session has not ended within {END_S:g} s; `quadrant ev unplug` breaks it off.")
        time.sleep(0.2)


def register(subparsers: Any) -> None:
    """Add `ev`."""
    ev = subparsers.add_parser(
        "ev",
        help="drive the rig's car of a running charger",
        description="Plugs the car of an emulated charger in, with these settings, or lets it stop or go away. A\n"
        "session that runs and was begun with others ends in order first. What is not said stays as it was.",
        example="quadrant ev --protocol 20-bpt --mode dynamic --soc 40 --departure 07:30 --min-soc 30",
    )
    ev.add_argument(
        "action",
        nargs="?",
        default="plug",
        choices=("plug", "stop", "pause", "unplug", "show"),
        help="plug (default), stop: end the session in order, pause: plug resumes it, unplug: at once, show: only say "
        "what the car does",
    )
    ev.add_argument("--protocol", choices=tuple(PROTOCOLS), help="ISO 15118-20 DC_BPT or DC, -2 DC, DIN 70121")
    ev.add_argument("--mode", choices=("dynamic", "scheduled"), help="control mode of -20: who chooses the power")
    ev.add_argument("--tls", action=argparse.BooleanOptionalAction, help="1.3 mutual with -20, 1.2 with -2")
    ev.add_argument("--soc", type=_percent, metavar="PERCENT", help="state of charge of the battery now")
    ev.add_argument("--target-soc", dest="soc_target", type=_percent, metavar="PERCENT", help="charged up to it")
    ev.add_argument("--min-soc", dest="soc_min", type=_percent, metavar="PERCENT", help="never discharged below it")
    ev.add_argument(
        "--departure",
        type=lambda text: departure_s(text, datetime.now().astimezone()),
        metavar="TIME",
        help="07:30, or in 8h",
    )
    ev.add_argument(
        "--target-a", type=_amperes(-500.0), metavar="A", help="Scheduled, -2, DIN: what it asks; - discharges"
    )
    ev.add_argument("--charge-a", type=_amperes(0.0), metavar="A", help="most that it takes")
    ev.add_argument("--discharge-a", type=_amperes(0.0), metavar="A", help="most that it gives")
    add_json(ev)
    add_dir(ev)
    ev.set_defaults(run=run)
