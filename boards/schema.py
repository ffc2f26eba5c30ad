"""What a board file may say: one dataclass a section, one field a key, and every field carries its own bounds.

The bounds, the unit, the meaning and the source of each number stand in the field's definition, so the loader's
refusal, the table in docs/boards.md and the effective values of `quadrant board show` cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boards.peers import Everest, Mqtt, Ocpp, Web
from boards.rules import NAME, TEXT, key

Adjustment = float

BITRATES = (125_000, 250_000, 500_000, 1_000_000)
BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)


@dataclass(frozen=True, slots=True)
class About:
    """Who this board is."""

    name: str = key("Name of the board; the file's name without `.toml`.", **NAME)
    title: str = key("One line for people.", **TEXT)
    emulated: bool = key("True: every device is emulated; such a board may not name a real bus or a real serial port.")


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid the charger is connected to."""

    code: str = key(
        "Grid code; `quadrant codes list` names them.",
        pattern=r"[A-Za-z][A-Za-z0-9_]{0,63}",
        shape="letters, digits and _, starting with a letter",
    )
    nominal_v: float = key(
        "Nominal voltage, phase to neutral (230 V: IEC 60038; 120 V and 277 V: ANSI C84.1).",
        unit="V",
        low=100.0,
        high=400.0,
    )
    allow_unverified: bool = key(
        "Accept grid-code numbers whose source could not be verified. Only for a desk: never connect such a charger.",
        default=False,
    )
    functions_on: str | None = key(
        "Support functions that the grid operator wants in force, with commas, for example `volt_var, volt_watt`: of "
        "those in the profile. A reactive one puts the others out. Without this key: what the code has in force.",
        default=None,
        pattern=r"[a-z_]+( *, *[a-z_]+)*",
        shape="names with commas, such as volt_var, volt_watt",
    )
    support_beyond_request: bool = key(
        "Let a support function of the grid code ask for more power than somebody asked for, or for the other "
        "direction (LFSM-U then makes a charging car discharge, within the car's limits). False: it only takes away. "
        "A car that helps the grid is emptier than its driver expects, and a house connection carries power that no "
        "energy manager planned.",
        default=False,
    )
    anti_islanding: str = key(
        "Detection of an island (docs/anti-islanding.md). active: reactive power alternates, and the frequency's "
        "answer is judged; passive: only a frequency that runs away; off: none, only on an emulated board.",
        default="active",
        choices=("active", "passive", "off"),
    )
    adjust: Mapping[str, Adjustment] = key(
        "Operator's adjustments inside the code's own ranges: dotted name -> value, "
        "for example `enter_service.delay_s = 60`. The grid-code loader checks name and range.",
        default=None,
    )
    adjust_file: str | None = key(
        "A TOML file with such adjustments, beside the board file or by its full path; a number may stand in one only.",
        default=None,
        **TEXT,
    )


@dataclass(frozen=True, slots=True)
class Ratings:
    """What this charger is built for. Live limits are read from the module and win when they are lower."""

    charge_w: float = key("Rated power, grid to car.", unit="W", above=0.0, high=400_000.0)
    discharge_w: float = key("Rated power, car to grid; 0 = never discharges.", unit="W", low=0.0, high=400_000.0)
    current_a: float = key("Rated DC current, both directions.", unit="A", above=0.0, high=500.0)
    voltage_v: float = key("Highest DC voltage.", unit="V", low=60.0, high=1000.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the DC side. The defaults are the norm's numbers; a board may only be stricter."""

    insulation_min_ohm: float = key(
        "Below this insulation resistance to PE there is no energy "
        "(IEC 61851-23:2023, 6.3.1.105 and CC.4.1.2: 100 kohm; 125 kohm for megawatt couplers). "
        "The monitor's own alarm is set to it too; 600 kohm is the most it takes.",
        default=100_000.0,
        unit="ohm",
        low=100_000.0,
        high=600_000.0,
    )
    ramp_a_per_s: float = key(
        "DC current ramp towards more power (IEC 61851-23: the charger follows requests at no less "
        "than 20 A/s; 25 A/s is common practice).",
        default=25.0,
        unit="A/s",
        low=20.0,
        high=200.0,
    )


@dataclass(frozen=True, slots=True)
class Guard:
    """The real-time process, and the parts of the reaction chain that are not ours."""

    rate_hz: float = key("Control periods per second.", unit="Hz", low=50.0, high=1000.0)
    priority: int = key("SCHED_FIFO priority, where the system permits it.", low=1, high=99)
    measure_window_s: float = key(
        "Window of the RMS measurement (half a cycle: 10 ms at 50 Hz).", unit="s", above=0.0, high=0.2
    )
    report_period_s: float = key("The pilot MCU sends a grid sample this often.", unit="s", above=0.0, high=0.2)
    converter_off_s: float = key(
        "From the off frame on the bus to zero current at the converter.", unit="s", above=0.0, high=1.0
    )
    contactor_open_s: float = key("From coil off to open contacts.", unit="s", above=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the charger does when nobody says anything."""

    idle_power_w: float = key(
        "Power asked for when there is no request: plain charging (+) within the ratings; 0 = wait for requests.",
        unit="W",
        low=-400_000.0,
        high=400_000.0,
    )
    lease_s: float = key(
        "Guard forgets what services asked for after this long without a renewal.", unit="s", low=0.5, high=5.0
    )


@dataclass(frozen=True, slots=True)
class Bus:
    """One CAN bus; the table's name is what `bus = ...` of a device refers to."""

    interface: str = key(
        "python-can interface. `udp_multicast` and `virtual` only on emulated boards.",
        choices=("socketcan", "slcan", "udp_multicast", "virtual"),
    )
    channel: str = key("Network interface, serial port or IPv4 multicast group (239.0.0.0/8, never routed).", **TEXT)
    bitrate: int = key("Bit rate; emulated buses are paced at it too.", choices=BITRATES, unit="bit/s")
    port: int | None = key("UDP port, only with `udp_multicast`.", default=None, low=1024, high=65535)


@dataclass(frozen=True, slots=True)
class Converter:
    """The bidirectional AC/DC converter."""

    driver: str = key("Driver of the converter.", choices=("infy_beg_v104",))
    bus: str = key("Name of its CAN bus.", **NAME)
    controller_address: int = key(
        "Our own address in the BEG protocol V1.04 (0xF0 to 0xF8).", default=0xF0, low=0xF0, high=0xF8
    )
    module_address: int = key(
        "The module's address in the BEG protocol V1.04 (0x00 to 0x3E).", default=0, low=0, high=0x3E
    )


@dataclass(frozen=True, slots=True)
class Pilot:
    """Pilot, contactor and grid-sense MCU."""

    driver: str = key("Driver of the MCU.", choices=("pilot_mcu",))
    port: str = key("Serial port; `{run}` is the run directory.", **TEXT)
    baud: int = key("Baud rate.", default=115200, choices=BAUD_RATES, unit="baud")


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Who talks to the car: the process `secc` of this firmware (docs/secc.md), an external SECC on CAN, or EVerest."""

    driver: str = key(
        "`iso15118`: the process secc. `secc_bridge_v3`: external SECC on CAN. `everest`: see section `[everest]`.",
        choices=("secc_bridge_v3", "iso15118", "everest"),
    )
    bus: str | None = key("secc_bridge_v3: name of its CAN bus; may not be the converter's.", default=None, **NAME)
    interface: str | None = key(
        "iso15118: network interface of the modem. Emulated boards: `lo`, or a name that begins with `v2g`, of a veth "
        "that the rig makes where it is root; without one both ends use the loopback.",
        default=None,
        pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}",
        shape="the name of a network interface",
    )
    python: str = key(
        "iso15118: Python of its own environment; a relative path begins at the folder that holds `firmware`.",
        default=".venv-secc/bin/python",
        **TEXT,
    )
    pki: str | None = key(
        "iso15118: folder made by `quadrant pki` (by the rig where it is missing). Absent: no TLS.",
        default=None,
        **TEXT,
    )


@dataclass(frozen=True, slots=True)
class ModbusDevice:
    """A device on RS-485, Modbus RTU. Devices on one port share its baud rate and parity."""

    driver: str
    port: str = key("Serial port; `{run}` is the run directory.", **TEXT)
    baud: int = key("Baud rate.", choices=BAUD_RATES, unit="baud")
    parity: str = key("Parity.", choices=("N", "E", "O"))
    address: int = key("Modbus address.", low=1, high=247)


@dataclass(frozen=True, slots=True)
class AcMeter(ModbusDevice):
    """AC energy meter (optional: without it there is no AC energy register)."""

    driver: str = key("Driver of the meter.", choices=("sdm630",))


@dataclass(frozen=True, slots=True)
class DcMeter(ModbusDevice):
    """DC energy meter (optional: without it the converter's own values are not compared with a second source)."""

    driver: str = key("Driver of the meter.", choices=("djsf1352",))


@dataclass(frozen=True, slots=True)
class Insulation(ModbusDevice):
    """Insulation monitor. Obligatory: no insulation monitor, no energy."""

    driver: str = key("Driver of the monitor.", choices=("isocha425hv",))


@dataclass(frozen=True, slots=True)
class Rig:
    """Only on emulated boards: what the supervisor starts first."""

    module: str = key(
        "Python module, started as `python -m MODULE --board FILE --dir RUNDIR`.",
        pattern=r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
        shape="a dotted module name",
    )
    source: str = key(
        "The emulated grid: `VOLTS,HERTZ`, `replay` or `replay:START_S`.",
        default="230,50",
        pattern=r"\d+(\.\d+)?,\d+(\.\d+)?|replay(:\d+(\.\d+)?)?",
        shape="VOLTS,HERTZ, replay or replay:START_S",
    )
    plug_in_after_s: float | None = key(
        "Plug a car in by itself so long after the rig is ready; absent: nobody does.",
        default=None,
        unit="s",
        low=0.0,
        high=3600.0,
    )


@dataclass(frozen=True, slots=True)
class Board:
    """A whole board. `path` is the file it came from."""

    board: About
    grid: Grid
    ratings: Ratings
    limits: Limits
    guard: Guard
    policy: Policy
    bus: Mapping[str, Bus]
    converter: Converter
    pilot: Pilot
    vehicle: Vehicle
    everest: Everest | None
    insulation: Insulation
    ac_meter: AcMeter | None
    dc_meter: DcMeter | None
    ocpp: Ocpp | None
    mqtt: Mqtt | None
    web: Web
    rig: Rig | None
    path: str

    @property
    def name(self) -> str:
        return self.board.name

    @property
    def title(self) -> str:
        return self.board.title

    @property
    def emulated(self) -> bool:
        return self.board.emulated


# Section name -> (dataclass, obligatory). `bus` is a table of tables. A section of defaults only may be left out.
SECTIONS: dict[str, tuple[type[Any], bool]] = {
    "board": (About, True),
    "grid": (Grid, True),
    "ratings": (Ratings, True),
    "limits": (Limits, False),
    "guard": (Guard, True),
    "policy": (Policy, True),
    "bus": (Bus, True),
    "converter": (Converter, True),
    "pilot": (Pilot, True),
    "vehicle": (Vehicle, True),
    "everest": (Everest, False),
    "insulation": (Insulation, True),
    "ac_meter": (AcMeter, False),
    "dc_meter": (DcMeter, False),
    "ocpp": (Ocpp, False),
    "mqtt": (Mqtt, False),
    "web": (Web, False),
    "rig": (Rig, False),
}
# Names that are kept for a board whose driver does not exist yet: a file of that name may not mean something else.
RESERVED = {"bic2200": "the Mean Well BIC-2200 desk converter, whose driver is not written yet"}
