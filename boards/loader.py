"""Reads a board file. Whatever is wrong with it is refused with one sentence: file, key, what is allowed.

board = load("desk", run_dir)         # a board of this package
board = load("./mine.toml", run_dir)  # a file
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boards.peers import Web
from boards.rules import BoardError, Rule
from boards.schema import RESERVED, SECTIONS, Adjustment, Board, Bus, Limits, ModbusDevice

HERE = Path(__file__).parent


def names() -> list[str]:
    """The boards of this package, by name."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def find(name_or_path: str | Path) -> Path:
    """The file of a board. A name has no slash and no `.toml`; everything else is a path.

    Raises BoardError when there is no such board.
    """
    text = str(name_or_path)
    if "/" in text or text.endswith(".toml"):
        path = Path(text)
        if path.stem in RESERVED:
            raise BoardError(f"{text}: the board name {path.stem!r} is reserved for {RESERVED[path.stem]}.")
        if not path.is_file():
            raise BoardError(f"There is no board file {text}.")
        return path
    if text in RESERVED:
        raise BoardError(f"The board name {text!r} is reserved for {RESERVED[text]}; boards: {', '.join(names())}.")
    if text not in names():
        raise BoardError(f"There is no board {text!r}; boards: {', '.join(names())}, or give the path of a .toml file.")
    return HERE / f"{text}.toml"


def load(name_or_path: str | Path, run_dir: str | Path = "{run}") -> Board:
    """Read and check a board; `{run}` in strings becomes `run_dir`. Raises BoardError with one sentence."""
    path = find(name_or_path)
    try:
        raw = path.read_bytes().decode()
        document = tomllib.loads(raw)
    except OSError as error:
        raise BoardError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BoardError(f"{path}: is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{path}: is not valid TOML: {error}.") from None
    grid = document.get("grid")
    if isinstance(grid, dict) and isinstance(grid.get("adjust_file"), str):
        from_file = read_adjustments(path.parent / grid["adjust_file"])
        own = dict(_adjustments(grid.get("adjust", {}), f"{path}: [grid.adjust]", ""))
        if twice := sorted(own.keys() & from_file.keys()):
            raise BoardError(f"{path}: {', '.join(twice)} stands in [grid.adjust] and in {grid['adjust_file']}.")
        grid["adjust"] = own | from_file
    return parse(document, str(path), str(run_dir))


def read_adjustments(path: Path) -> dict[str, Adjustment]:
    """The operator's adjustments in a TOML file, flat: dotted name -> value. Raises BoardError with one sentence."""
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise BoardError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BoardError(f"{path}: is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{path}: is not valid TOML: {error}.") from None
    return dict(_adjustments(document, f"{path}:", ""))


def parse(document: Mapping[str, Any], path: str, run_dir: str) -> Board:
    """The board in a TOML document. Pure: opens nothing. Raises BoardError with one sentence."""
    try:
        board = _board(document, path, run_dir)
        for problem in _contradictions(board, run_dir):
            raise BoardError(problem)
    except BoardError as error:
        raise BoardError(f"{path}: {error}") from None
    return board


def _board(document: Mapping[str, Any], path: str, run_dir: str) -> Board:
    _only(document, SECTIONS, "section", "")
    values: dict[str, Any] = {}
    for name, (kind, obligatory) in SECTIONS.items():
        table = document.get(name)
        if table is None:
            if obligatory:
                raise BoardError(f"section [{name}] is missing.")
            values[name] = kind() if kind in (Limits, Web) else None  # of these every key has a default
        elif not isinstance(table, dict):
            raise BoardError(f"[{name}] must be a section, not a value.")
        elif kind is Bus:
            values[name] = {bus: _bus(bus, content, run_dir) for bus, content in table.items()}
        else:
            values[name] = _section(kind, table, name, run_dir)
    return Board(**values, path=path)


def _bus(name: str, table: object, run_dir: str) -> Bus:
    if not isinstance(table, dict):
        raise BoardError(f"[bus.{name}] must be a section, not a value.")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise BoardError(f"the bus name {name!r} must be lower-case letters, digits and _, starting with a letter.")
    bus: Bus = _section(Bus, table, f"bus.{name}", run_dir)
    return bus


def _only(table: Mapping[str, Any], allowed: Mapping[str, Any], what: str, where: str) -> None:
    for name in table:
        if name not in allowed:
            shown = f"[{name}]" if what == "section" else f"{name!r}"
            raise BoardError(f"unknown {what} {shown}{where}; known: {', '.join(allowed)}.")


def _section(kind: type[Any], table: Mapping[str, Any], section: str, run_dir: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    _only(table, fields, "key", f" in [{section}]")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        where = f"[{section}] {name}"
        if name in table:
            if (section, name) == ("grid", "adjust"):
                values[name] = dict(_adjustments(table[name], "[grid.adjust]", ""))
            else:
                values[name] = _value(table[name], hints[name], field.metadata["rule"], where, run_dir)
        elif field.default is dataclasses.MISSING:
            allowed = field.metadata["rule"].allowed()
            raise BoardError(f"{where} is missing{f' (allowed: {allowed})' if allowed else ''}.")
        elif (section, name) == ("grid", "adjust"):
            values[name] = {}
    return kind(**values)


def _value(value: Any, hint: Any, rule: Rule, where: str, run_dir: str) -> Any:
    kinds = set(typing.get_args(hint)) - {types.NoneType} or {hint}
    kind = kinds.pop()
    if kind is bool:
        if not isinstance(value, bool):
            raise BoardError(f"{where} = {value!r} must be true or false.")
        return value
    if kind is str:
        return _text(value, rule, where, run_dir)
    # bool is an int to Python, not to people.
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise BoardError(f"{where} = {value!r} must be a {'whole ' if kind is int else ''}number: {rule.allowed()}.")
    good = math.isfinite(value) and (
        value in rule.choices
        if rule.choices
        else (rule.low is None or value >= rule.low)
        and (rule.above is None or value > rule.above)
        and (rule.high is None or value <= rule.high)
    )
    if not good:
        raise BoardError(f"{where} = {value!r} is out of range; allowed: {rule.allowed()}.")
    return kind(value)


def _text(value: Any, rule: Rule, where: str, run_dir: str) -> str:
    if not isinstance(value, str):
        raise BoardError(f"{where} = {value!r} must be text in quotes: {rule.allowed()}.")
    if rule.choices and value not in rule.choices:
        reserved = f" ({value!r} is reserved for {RESERVED[value]})" if value in RESERVED else ""
        raise BoardError(f"{where} = {value!r} is not known{reserved}; allowed: {rule.allowed()}.")
    if rule.pattern and not re.fullmatch(rule.pattern, value):
        raise BoardError(f"{where} = {value!r} must be {rule.shape}.")
    return value.replace("{run}", run_dir)


def _adjustments(table: object, where: str, prefix: str) -> Iterator[tuple[str, Adjustment]]:
    """Nested tables and quoted dotted names mean the same; what comes out is flat."""
    if not isinstance(table, dict):
        raise BoardError(f"{where} must be a section, not a value.")
    for name, value in table.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _adjustments(value, where, f"{dotted}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield dotted, float(value)
        else:
            raise BoardError(f"{where} {dotted} = {value!r} must be a finite number.")


def _contradictions(board: Board, run_dir: str) -> Iterator[str]:
    """What is wrong between keys that are each right by themselves; one sentence each."""
    if board.name in RESERVED:
        yield f"[board] name = {board.name!r} is reserved for {RESERVED[board.name]}."
    low, high = -board.ratings.discharge_w, board.ratings.charge_w
    if not low <= board.policy.idle_power_w <= high:
        yield (
            f"[policy] idle_power_w = {board.policy.idle_power_w:g} is outside the ratings; "
            f"allowed: {low:g} to {high:g} W."
        )
    for section, bus in (("converter", board.converter.bus), ("vehicle", board.vehicle.bus)):
        if bus is not None and bus not in board.bus:
            yield f"[{section}] bus = {bus!r} is not defined; buses: {', '.join(board.bus)}."
    if board.converter.bus == board.vehicle.bus:
        yield "[vehicle] bus must not be the converter's bus: two processes would send there."
    yield from _vehicle_contradictions(board)
    yield from _bus_contradictions(board)
    yield from _port_contradictions(board, run_dir)
    yield from _back_end_contradictions(board)
    yield from _broker_contradictions(board)
    try:
        ipaddress.ip_address(board.web.listen)
    except ValueError:
        yield f"[web] listen = {board.web.listen!r} must be an IP address, such as 127.0.0.1 or 0.0.0.0."
    if board.grid.anti_islanding == "off" and not board.emulated:
        yield '[grid] anti_islanding = "off" is only for emulated boards; allowed here: active, passive.'
    if board.rig is not None and not board.emulated:
        yield "[rig] is only for emulated boards; remove it or set [board] emulated = true."


def _back_end_contradictions(board: Board) -> Iterator[str]:
    ocpp = board.ocpp
    if ocpp is None:
        return
    tls = ocpp.security >= 2
    for name, url in (("url", ocpp.url), ("fallback_url", ocpp.fallback_url)):
        if url is not None and url.startswith("wss:") is not tls:
            yield f"[ocpp] {name} = {url!r}: security profile {ocpp.security} goes with {'wss' if tls else 'ws'}://."
    for name, needed in (
        ("password_file", ocpp.security in (1, 2)),
        ("ca_file", tls),
        ("cert_file", ocpp.security == 3),
        ("key_file", ocpp.security == 3),
    ):
        if (getattr(ocpp, name) is not None) is not needed:
            yield f"[ocpp] {name} {'is needed by' if needed else 'is not used in'} security profile {ocpp.security}."
    if (ocpp.installer is None) is not (ocpp.firmware_ca_file is None):
        yield "[ocpp] installer and firmware_ca_file go together: only signed firmware is installed."


def _broker_contradictions(board: Board) -> Iterator[str]:
    mqtt = board.mqtt
    if mqtt is None:
        return
    if mqtt.ca_file is not None and not mqtt.tls:
        yield "[mqtt] ca_file is not used without tls = true."
    if mqtt.password_file is not None and mqtt.username is None:
        yield "[mqtt] password_file needs a username."
    if mqtt.commands and mqtt.password_file is None and not board.emulated:
        yield "[mqtt] commands = true needs username and password_file on a real board: the broker must know people."


def _vehicle_contradictions(board: Board) -> Iterator[str]:
    vehicle = board.vehicle
    for key, driver in (("bus", "secc_bridge_v3"), ("interface", "iso15118")):
        given = getattr(vehicle, key) is not None
        if given is not (vehicle.driver == driver):
            yield f"[vehicle] {key} {'belongs to' if given else 'is needed by'} driver {driver!r}."
    everest = board.everest
    if (everest is not None) is not (vehicle.driver == "everest"):
        yield f"[everest] {'is needed by' if everest is None else 'belongs to'} [vehicle] driver = 'everest'."
    if everest is not None and board.emulated and everest.host not in ("127.0.0.1", "localhost", "::1"):
        yield f"[everest] host = {everest.host!r}: an emulated board takes only a broker of this machine, 127.0.0.1."
    # An emulated car that reaches a real modem, or an emulated charger a real car, must be impossible.
    name = vehicle.interface
    if name is not None and (name == "lo" or name.startswith("v2g")) is not board.emulated:
        allowed = "lo or a veth named v2g..." if board.emulated else "that of the modem"
        yield f"[vehicle] interface = {name!r}: allowed on this board is {allowed}."


def _bus_contradictions(board: Board) -> Iterator[str]:
    seen: dict[tuple[str, str, int | None], str] = {}
    for name, bus in board.bus.items():
        where = f"[bus.{name}]"
        if name not in (board.converter.bus, board.vehicle.bus):
            yield f"{where} is used by no device."
        if (bus.interface == "udp_multicast") != (bus.port is not None):
            yield f"{where} port belongs to interface udp_multicast, and only to it."
        if bus.interface == "udp_multicast":
            try:
                # Administratively scoped groups (RFC 2365) stay in the house; besides, the hop limit is 0.
                inside = ipaddress.IPv4Address(bus.channel) in ipaddress.IPv4Network("239.0.0.0/8")
            except ValueError:
                inside = False
            if not inside:
                yield f"{where} channel = {bus.channel!r} must be an IPv4 multicast group in 239.0.0.0/8."
        if not board.emulated and bus.interface in ("udp_multicast", "virtual"):
            yield f"{where} interface = {bus.interface!r} is only for emulated boards."
        if board.emulated and bus.interface == "socketcan" and not bus.channel.startswith("vcan"):
            yield f"{where} channel = {bus.channel!r}: an emulated board may not touch a real CAN bus; use vcan0."
        if not board.emulated and bus.interface == "socketcan" and bus.channel.startswith("vcan"):
            yield f"{where} channel = {bus.channel!r} is a virtual CAN; a real board needs a real one, such as can0."
        same = (bus.interface, bus.channel, bus.port)
        if same in seen:
            yield f"{where} and [bus.{seen[same]}] are the same bus {bus.channel!r}."
        seen[same] = name


def _port_contradictions(board: Board, run_dir: str) -> Iterator[str]:
    ports = {"pilot": board.pilot.port} | {name: device.port for name, device in modbus_devices(board).items()}
    for name, port in ports.items():
        if board.emulated != port.startswith((f"{run_dir}/", "/dev/pts/")):
            told = "must lie in {run}/" if board.emulated else "must be a real serial port, such as /dev/ttyAMA1"
            yield f"[{name}] port = {port!r}: on this board (emulated = {str(board.emulated).lower()}) it {told}."
    lines: dict[str, tuple[str, ModbusDevice]] = {}
    addresses: dict[tuple[str, int], str] = {}
    taken = {bus.channel: f"[bus.{name}]" for name, bus in board.bus.items() if bus.interface == "slcan"}
    taken[board.pilot.port] = "[pilot]"
    for name, device in modbus_devices(board).items():
        if device.port in taken:
            yield f"[{name}] port = {device.port!r} is already the port of {taken[device.port]}."
        if (device.port, device.address) in addresses:
            other = addresses[device.port, device.address]
            yield f"[{name}] address = {device.address} is already the address of [{other}] on {device.port}."
        addresses[device.port, device.address] = name
        first, same = lines.setdefault(device.port, (name, device))
        if (same.baud, same.parity) != (device.baud, device.parity):
            yield (
                f"[{name}] is {device.baud} {device.parity} but [{first}] on the same port {device.port} is "
                f"{same.baud} {same.parity}: one RS-485 line has one baud rate and parity."
            )


def modbus_devices(board: Board) -> dict[str, ModbusDevice]:
    """The board's Modbus devices by section name."""
    devices: dict[str, ModbusDevice | None] = {
        "ac_meter": board.ac_meter,
        "dc_meter": board.dc_meter,
        "insulation": board.insulation,
    }
    return {name: device for name, device in devices.items() if device is not None}


def effective(board: Board) -> dict[str, Any]:
    """Every key with the value in force, defaults included; sections that are absent are left out."""
    values = dataclasses.asdict(board)
    values.pop("path")
    return {name: section for name, section in values.items() if section is not None}


def describe(board: Board) -> str:
    """The board as a complete TOML file: what is in force, defaults included."""
    lines = [f"# {board.path}"]
    for name, section in effective(board).items():
        if name == "bus":
            for bus, content in section.items():
                lines += ["", f"[bus.{bus}]", *_toml(content)]
        else:
            adjust = section.pop("adjust", None)
            section.pop("adjust_file", None)  # what stands in it is in `adjust`
            lines += ["", f"[{name}]", *_toml(section)]
            if adjust:
                lines += ["", "[grid.adjust]", *_toml({f'"{dotted}"': value for dotted, value in adjust.items()})]
    return "\n".join(lines) + "\n"


def _toml(section: Mapping[str, Any]) -> Iterator[str]:
    for name, value in section.items():
        if value is None:
            continue
        if isinstance(value, bool):
            shown = "true" if value else "false"
        elif isinstance(value, str):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            shown = f'"{escaped}"'
        else:
            shown = repr(value)
        yield f"{name} = {shown}"
