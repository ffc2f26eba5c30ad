"""`quadrant ocpp`: what the back end has set, what follows from it now, and what still waits to be told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from firmware.arguments import add_dir, add_json
from firmware.control_client import ControlClient

OK = 0
Report = dict[str, Any]


def _status(report: Report) -> list[str]:
    version = f"OCPP {report['version']}" if report["version"] else "not connected"
    lines = [f"{report['url']}: {version}, {report['registration']}"]
    lines.append(f"Transaction: {report['transaction'] or 'none'}")
    rule = report.get("rule")
    if rule is None:
        lines.append("Rule: none; the charger goes by what is asked for here.")
    else:
        lines.append(f"Rule: {rule['reason']}")
        numbers = [f"{name} {rule[key] / 1000:+.2f} kW" for name, key in _POWERS if rule[key] is not None]
        lines.append(f"      {rule['mode']}: {', '.join(numbers) or 'left to who asks here'}")
    if report.get("offline_s") is not None:
        lines.append(f"The back end has been away for {report['offline_s']:.0f} s; the last valid rule goes on.")
    if report.get("alarm"):
        lines.append(f"Alarm that goes on: {report['alarm']}")
    if (reservation := report.get("reservation")) is not None:
        lines.append(f"Reserved until {_moment(reservation['until_s'])} (reservation {reservation['id']})")
    if report.get("firmware_update", "Idle") != "Idle":
        lines.append(f"Firmware update: {report['firmware_update']}")
    lines.append(f"Waiting to be told: {report['queue']['waiting']} records, {report.get('der_notices', 0)} notices")
    return lines


_POWERS = (("power", "power_w"), ("at most charging", "charge_w"), ("at most discharging", "discharge_w"))


def _profiles(report: Report) -> list[str]:
    return [
        f"{'*' if p['leads'] else ' '} {p['id']:>8}  {p['purpose']:<36} stack {p['stack']:<4} {p['kind']:<10} "
        f"EVSE {p['evse']}"
        for p in report["profiles"]
    ] or ["No charging profile is set."]


def _der(report: Report) -> list[str]:
    return [
        f"{c['id']:<20} {c['type']:<20} {'default' if c['default'] else 'scheduled':<10} {c['state']:<11} "
        f"priority {c['payload']['priority']}"
        for c in report["der"]
    ] or ["No DER control is set."]


def _queue(report: Report) -> list[str]:
    queue = report["queue"]
    lines = [f"{queue['waiting']} records wait; {queue['given_up']} were given up since the start."]
    for m in queue["first"]:
        lines.append(
            f"{_moment(m['wall_s'])}  {m['tx']}  seqNo {m['seq']:<5} {m['kind']:<8} {m['trigger']}"
            + (" offline" * m["offline"])
        )
    return lines


def _moment(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, tz=UTC).isoformat(" ", "seconds")


def _security(report: Report) -> list[str]:
    ours = report.get("client_certificate")
    first = []
    if ours is not None:
        state = "" if ours["tried"] else "; not yet tried"
        asked = "; a new one is asked for" * ours["asked_for"]
        first = [f"Our certificate: {ours['subject']}, until {_moment(ours['until_s'])}{state}{asked}."]
    return [*first, *_events(report)]


def _events(report: Report) -> list[str]:
    return [
        f"{_moment(e['wall_s'])}  {'told   ' if e['told'] else 'waiting'}  {e['type']:<34}  {e['info']}".rstrip()
        for e in report["security_events"]
    ] or ["There was no security event."]


def _monitors(report: Report) -> list[str]:
    return [
        f"{m['id']:>6}  {m['variable']:<40} {m['type']:<21} {m['value']:<10g} severity {m['severity']}"
        + (" exceeded" if m["alert"] else "")
        for m in report["monitors"]
    ] or ["The back end watches no variable."]


def _variables(report: Report) -> list[str]:
    width = max((len(v["name"]) for v in report["variables"]), default=0)
    return [
        f"{'*' if v['set'] else ' '} {v['name']:<{width}}  {'rw' if v['writable'] else 'r '}  "
        + f"{v['value']} {v['unit']}".rstrip()
        for v in report["variables"]
    ] or ["Nothing is known of the charger yet; try again in a second."]


# name -> (what is shown, of the report's fields, for people, one line of help)
_VIEWS: dict[str, tuple[tuple[str, ...], Callable[[Report], list[str]], str]] = {
    "status": ((), _status, "the connection, and the rule that is in force"),
    "profiles": (("profiles", "rule"), _profiles, "the charging profiles; * leads now"),
    "der": (("der", "der_notices", "alarm"), _der, "the DER controls of the back end"),
    "variables": (("variables",), _variables, "the variables of the device model; * was set by the back end"),
    "monitors": (("monitors",), _monitors, "the variables that the back end watches"),
    "security": (("client_certificate", "security_events"), _security, "our certificate, the last security events"),
    "queue": (("queue",), _queue, "what waits to be told"),
}


def _show(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        answer = client.call("ocpp")
    report, (keys, words, _) = answer["ocpp"], _VIEWS[args.action]
    if args.json:
        shown = {key: report.get(key) for key in keys} if keys else {**report, "problem": answer["problem"]}
        print(json.dumps(shown))
        return OK
    if not report:
        print(answer["problem"] or "The bridge to the back end has not begun yet; try again in a second.")
        return OK
    print("\n".join(words(report)))
    return OK


def _priority(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        client.call("ocpp", priority=args.switch == "on")
    print(f"Priority charging is wanted {args.switch}; `quadrant ocpp status` shows the rule that follows.")
    return OK


def register(subparsers: Any) -> None:
    """Add `ocpp`."""
    ocpp = subparsers.add_parser(
        "ocpp",
        help="what the back end (OCPP) has set, and what waits for it",
        description="The connection to the back end, the rule that gives the power now, charging profiles, DER\n"
        "controls and the queue. docs/ocpp.md explains them.",
        example="quadrant ocpp status",
    )
    actions = ocpp.add_subparsers(dest="action", metavar="WHAT", required=True)
    for name, (_, _, words) in _VIEWS.items():
        action = actions.add_parser(
            name,
            help=words,
            description=f"Shows {words}, as it was at most a second ago.",
            example=f"quadrant ocpp {name} --json",
        )
        add_dir(action)
        add_json(action)
        action.set_defaults(run=_show)
    priority = actions.add_parser(
        "priority",
        help="the driver wants priority charging, or no longer",
        description="Charges the running transaction by the back end's PriorityCharging profile, and tells it so.",
        example="quadrant ocpp priority on",
    )
    priority.add_argument("switch", choices=("on", "off"), help="on or off")
    add_dir(priority)
    priority.set_defaults(run=_priority)
