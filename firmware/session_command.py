"""`quadrant session`: what car and charger said to each other, of a session that goes on or of one of the past.

`list` and `show` read files only; the charger need not run. Decoding needs the schemas of the SECC's environment,
nothing else of it. `pause` asks a running charger.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import firmware
from firmware.arguments import add_dir, add_json
from firmware.bridges.secc.recording import FOLDER, RecordingError, read, sessions
from firmware.control_client import ControlClient

_LOOP = ("DC_ChargeLoop", "CurrentDemand", "DC_CableCheck", "CableCheck", "DC_PreCharge", "PreCharge")


def schemas(given: Path | None) -> Path:
    """The folder of XSD files. Raises RecordingError with a sentence."""
    if given is not None:
        folders = [given]
    else:
        environment = Path(firmware.__path__[0]).parent / ".venv-secc"
        folders = sorted(environment.glob("lib/python3.*/site-packages/iso15118/shared/schemas"))
    for folder in folders:
        if (folder / "V2G_CI_AppProtocol.xsd").is_file():
            return folder
    raise RecordingError(
        "The schemas of ISO 15118 are needed to decode messages and were not found; `make setup` installs them, "
        "--schemas names their folder, --pcap does without."
    )


def show_list(args: argparse.Namespace) -> int:
    folder = args.dir / FOLDER
    found = []
    for identity in sessions(folder):
        try:
            about, lines = read(folder, identity)
        except RecordingError as error:
            print(error, file=sys.stderr)
            continue
        found.append(_summary(identity, about, lines))
    if args.json:
        print(json.dumps(found))
        return 0
    for one in found:
        print(
            f"{one['id']}  {one['seconds']:7.1f} s  {one['frames']:6} messages  {one['tls'] or 'no TLS':8}  "
            f"{one['car'][0]}  {one['end'] or 'goes on, or was cut off'}"
        )
    if not found:
        print(f"No session with messages in {folder}.", file=sys.stderr)
    return 0


def _summary(identity: str, about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": identity,
        "t_wall": about["t_wall"],
        "seconds": round(float(lines[-1]["t"]) - float(about["t"]), 3) if lines else 0.0,
        "frames": sum("frame" in line for line in lines),
        "tls": about["tls"],
        "interface": about["interface"],
        "car": about["car"],
        "charger": about["charger"],
        "end": next((line["end"] for line in reversed(lines) if "end" in line), None),
    }


def show(args: argparse.Namespace) -> int:
    folder = args.dir / FOLDER
    try:
        known = sessions(folder)
        if args.id is None and not known:
            raise RecordingError(f"No session with messages in {folder}.")
        identity = args.id or known[-1]
        about, lines = read(folder, identity)
        if args.pcap is not None:
            return _pcap(args.pcap, about, lines)
        _messages(args, identity, about, lines)
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _pcap(path: Path, about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> int:
    from firmware.bridges.secc.pcap import pcap

    try:
        path.write_bytes(pcap(about, lines))
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror}.") from None
    print(f"{path}: {sum('frame' in line for line in lines)} messages.")
    return 0


def _messages(
    args: argparse.Namespace, identity: str, about: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> None:
    from firmware.bridges.secc.exi import ExiCodec
    from firmware.bridges.secc.story import messages

    codec = ExiCodec(schemas(args.schemas), cache_folder=args.dir)
    summary = _summary(identity, about, lines)
    if not args.json:
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(about["t_wall"])))
        print(f"Session {identity}, {began}, car {about['car'][0]} on {about['interface']}, {about['tls'] or 'no TLS'}")
    last, left_out = ("", ""), 0
    for told in messages(about, lines, codec):
        if args.json:
            values = {
                "t_wall": round(float(about["t_wall"]) + told.after_s, 6),
                "after_s": round(told.after_s, 6),
                "from": told.sender,
                "name": told.name,
                "namespace": told.namespace,
                "message": told.message,
            }
            print(json.dumps(values | ({"problem": told.problem} if told.problem else {})))
            continue
        this = (told.sender, told.name)
        if not args.all and told.name.startswith(_LOOP) and told.name[:-3] == last[1][:-3]:
            left_out += 1
            continue
        if left_out:
            print(f"{'':10}  ... {left_out} more of the same; --all shows them")
            left_out = 0
        # What repeats is left out from the second pair on: the first request and the first response are shown.
        last = this if told.sender == "charger" else last
        arrow = "car  ->" if told.sender == "car" else "     <-"
        print(f"{told.after_s:9.3f} s  {arrow} {told.problem or json.dumps(told.message)}")
    if not args.json:
        if left_out:
            print(f"{'':10}  ... {left_out} more of the same; --all shows them")
        print(f"{summary['seconds']:9.3f} s  {summary['end'] or 'the record goes on, or was cut off'}")


def pause(args: argparse.Namespace) -> int:
    with ControlClient(args.dir) as client:
        client.call("pause")
    print("The car is asked to pause; `quadrant session show` tells what it answers.")
    return 0


def register(subparsers: Any) -> None:
    """Add `session`."""
    session = subparsers.add_parser(
        "session",
        help="what car and charger said to each other",
        description="The messages of ISO 15118 and DIN 70121, as the SECC records them in DIR/v2g. docs/secc.md.",
        example="quadrant session show --pcap session.pcap",
    )
    actions = session.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="the recorded sessions",
        description="The recorded sessions, oldest first.",
        example="quadrant session list",
    )
    listing.set_defaults(run=show_list)
    one = actions.add_parser(
        "show",
        help="the messages of a session with their times",
        description="The messages of a session as decoded JSON, each with its time since the connection. What repeats\n"
        "is shown once. With --json every message, one object a line.",
        example="quadrant session show --json | jq 'select(.name == \"DC_ChargeLoopRes\").message'",
    )
    one.add_argument("id", nargs="?", metavar="ID", help="`quadrant session list` names them (default: the newest)")
    one.add_argument("--all", action="store_true", help="also what repeats")
    one.add_argument("--pcap", type=Path, metavar="FILE", help="write the session for Wireshark instead")
    one.add_argument("--schemas", type=Path, metavar="DIR", help="folder of the XSD files (default: of .venv-secc)")
    one.set_defaults(run=show)
    for action in (listing, one):
        add_json(action)
        add_dir(action)
    pausing = actions.add_parser(
        "pause",
        help="ask the car to pause its session",
        description="The charger asks, the car decides: one of ISO 15118-20 ends its session to be resumed later.\n"
        "ISO 15118-2 and DIN 70121 have no word for it, and an SECC on CAN or EVerest take none: that is said.",
        example="quadrant session pause",
    )
    pausing.set_defaults(run=pause)
    add_dir(pausing)
