"""`quadrant web password`: who may log in to the service screen."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from firmware.arguments import add_dir
from firmware.web.access import ROLES, PasswordError, save_password


def password(args: argparse.Namespace) -> int:
    """Set or remove a password. A running screen takes note within a second."""
    role = ROLES[args.role]
    try:
        if args.remove:
            save_password(args.dir, role, None)
            print(f"There is no password of {args.role} any more.")
            return 0
        save_password(args.dir, role, _asked(args.role))
    except PasswordError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The password of {args.role} is set; whoever is logged in logs in again.")
    return 0


def _asked(role: str) -> str:
    """From the terminal, twice; otherwise the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass(f"Password of {role}: ")
    if first != getpass.getpass("Once more: "):
        raise PasswordError("The two are not the same; nothing has changed.")
    return first


def register(subparsers: Any) -> None:
    """Add `web`."""
    parser = subparsers.add_parser(
        "web",
        help="passwords of the service screen",
        description="The service screen itself comes with `quadrant run` (docs/service-screen.md).",
        example="quadrant web password service",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    one = actions.add_parser(
        "password",
        help="set or remove the password of a role",
        description="Asks for the password, or reads a line of standard input. viewer sees, operator asks for power,\n"
        "stops and starts, service changes parameters too. Until one is set, the screen listens on the loopback only.",
        example="quadrant web password operator",
    )
    one.add_argument("role", choices=tuple(ROLES), help="viewer, operator or service")
    one.add_argument("--remove", action="store_true", help="remove it")
    add_dir(one)
    one.set_defaults(run=password)
