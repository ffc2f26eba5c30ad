"""`bench.toml`: which driver plays which role, and the limits of the rig. Strict: an unknown key is an error.

Without a file the bench is simulated, all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hil.bench.strict import Table, TableError, read_toml

ROLES = ("grid", "load", "ev", "recorder", "fault", "unit", "clock")
DRIVERS = {
    "grid": ("sim", "scpi", "manual"),
    "load": ("sim", "manual"),
    "ev": ("sim", "scpi", "manual"),
    "recorder": ("sim", "polling"),
    "fault": ("sim", "manual"),
    "unit": ("sim", "charger"),
    "clock": ("sim", "real"),
}


@dataclass(frozen=True, slots=True)
class RigLimits:
    """What this rig may be driven to, whatever a test asks for. Checked before any driver. Volts phase to neutral."""

    v_max_v: float = 300.0
    f_range_hz: tuple[float, float] = (45.0, 66.0)
    p_max_w: float = 25_000.0
    i_max_a: float = 40.0
    dc_v_max_v: float = 500.0
    dc_i_max_a: float = 80.0
    silence_s: float = 2.0  # a host that says nothing for so long has died: every output goes off


@dataclass(frozen=True, slots=True)
class RoleConfig:
    driver: str
    instrument: str = ""  # name of a command table, or a file
    address: str = ""  # tcp:HOST:PORT
    directory: str = ""  # of the charger's control socket
    serial: str = ""
    cal_due: str = ""  # ISO date


@dataclass(frozen=True, slots=True)
class BenchConfig:
    name: str = "simulated"
    station: str = ""
    limits: RigLimits = field(default_factory=RigLimits)
    roles: Mapping[str, RoleConfig] = field(
        default_factory=lambda: {role: RoleConfig("sim") for role in ROLES},
    )
    nominal_v: float = 230.0
    nominal_hz: float = 50.0

    @property
    def simulated(self) -> bool:
        return self.roles["clock"].driver == "sim"


def load(path: Path) -> BenchConfig:
    """Raises TableError with a sentence: which file, which key, what is allowed."""
    root = Table(str(path), read_toml(path))
    about = root.table("bench")
    limits = _limits(root.table("limits", optional=True))
    roles = {role: _role(role, root.table(role)) for role in ROLES}
    config = BenchConfig(
        name=about.text("name"),
        station=about.text("station", ""),
        limits=limits,
        roles=roles,
        nominal_v=about.number("nominal_v", 100.0, 300.0, 230.0, unit="V"),
        nominal_hz=about.number("nominal_hz", 50.0, 60.0, 50.0, unit="Hz"),
    )
    about.done(None)
    root.done(None)
    kinds = {role.driver == "sim" for role in roles.values()}
    if len(kinds) > 1:
        simulated = ", ".join(name for name, role in roles.items() if role.driver == "sim")
        raise TableError(f"{path}: {simulated} are simulated and the rest is not: one clock cannot serve both")
    return config


def _limits(table: Table) -> RigLimits:
    usual = RigLimits()
    low, high = table.numbers("f_range_hz", 2, usual.f_range_hz)
    if not 30.0 <= low < high <= 500.0:
        raise table.refuse("f_range_hz", [low, high], "two rising frequencies from 30 to 500 Hz")
    return table.done(
        RigLimits(
            v_max_v=table.number("v_max_v", 0.0, 1000.0, usual.v_max_v, unit="V"),
            f_range_hz=(low, high),
            p_max_w=table.number("p_max_w", 0.0, 1e6, usual.p_max_w, unit="W"),
            i_max_a=table.number("i_max_a", 0.0, 2000.0, usual.i_max_a, unit="A"),
            dc_v_max_v=table.number("dc_v_max_v", 0.0, 1500.0, usual.dc_v_max_v, unit="V"),
            dc_i_max_a=table.number("dc_i_max_a", 0.0, 1000.0, usual.dc_i_max_a, unit="A"),
            silence_s=table.number("silence_s", 0.1, 60.0, usual.silence_s, unit="s"),
        )
    )


def _role(role: str, table: Table) -> RoleConfig:
    driver = table.text("driver", choices=DRIVERS[role])
    scpi = driver == "scpi"
    config = RoleConfig(
        driver=driver,
        instrument=table.text("instrument") if scpi else "",
        address=table.text("address") if scpi else "",
        directory=table.text("directory") if driver == "charger" else "",
        serial=table.text("serial", ""),
        cal_due=table.text("cal_due", ""),
    )
    if config.address:
        parse_address(config.address, table.where)
    return table.done(config)


def parse_address(text: str, where: str = "address") -> tuple[str, int]:
    """(host, port) from tcp:HOST:PORT. Raises TableError."""
    kind, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise TableError(f"{where}: {text!r} is no address of an instrument; tcp:HOST:PORT is needed")
    return host, int(port)
