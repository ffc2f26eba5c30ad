"""Sections of a board file about the peers of the services: EVerest, the back end, the broker, the screen."""

from __future__ import annotations

from dataclasses import dataclass

from boards.rules import FILE, key

_MODULE = {"pattern": r"[A-Za-z0-9_]{1,64}", "shape": "the name of a module: letters, digits and _"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Everest:
    """EVerest as SECC, over its MQTT API (docs/everest.md). Belongs to `[vehicle] driver = "everest"`.

    The names are those of the API modules in EVerest's own configuration."""

    host: str = key(
        "Name or address of EVerest's broker; an emulated board takes only this machine's.",
        pattern=r"[A-Za-z0-9.:_-]{1,253}",
        shape="a host name or an IP address",
    )
    power_supply: str = key("Module of type power_supply_DC_API.", **_MODULE)
    board_support: str = key("Module of type evse_board_support_API.", **_MODULE)
    insulation: str = key("Module of type isolation_monitor_API.", **_MODULE)
    power_meter: str = key("Module of type powermeter_API.", **_MODULE)
    port: int = key("Its TCP port.", default=1883, low=1, high=65535)
    manager: str | None = key(
        "Module of type evse_manager_consumer_API: it tells the car's highest voltage, which the cable check needs "
        "above 500 V, and its state of charge. Absent: unknown.",
        default=None,
        **_MODULE,
    )
    heartbeat_s: float = key(
        "EVerest's `cfg_heartbeat_interval_ms` of these modules, in seconds (1 s is its default). One and a half of it "
        "and 0.5 s after the last sign of life there is no power: shorter is better.",
        default=1.0,
        unit="s",
        low=0.05,
        high=5.0,
    )


_URL = {"pattern": r"wss?://[^\s?#@]{1,300}", "shape": "ws://HOST... or wss://HOST..., without user and query"}


@dataclass(frozen=True, slots=True)
class Ocpp:
    """The back end (docs/ocpp.md). Without this section nobody is told anything."""

    url: str = key("Address of the back end, without the identity.", **_URL)
    identity: str = key(
        "The charger's name at the back end.",
        pattern=r"[A-Za-z0-9*_=:+|@.\-]{1,48}",
        shape="1 to 48 letters, digits or * - _ = : + | @ .",
    )
    security: int = key(
        "Security profile: 0 none (loopback of a desk only), 1 password, 2 password and TLS, 3 client certificate and "
        "TLS. Never lowered by the back end.",
        choices=(0, 1, 2, 3),
    )
    versions: str = key(
        "Versions to offer, the preferred one first.",
        default="2.1, 2.0.1, 1.6",
        pattern=r"(2\.1|2\.0\.1|1\.6)( *, *(2\.1|2\.0\.1|1\.6))*",
        shape="of 2.1, 2.0.1, 1.6, with commas",
    )
    fallback_url: str | None = key(
        "A second address, tried after three failures of the first, with the same security.", default=None, **_URL
    )
    password_file: str | None = key("A file with the password (profiles 1 and 2), one line.", **FILE)
    ca_file: str | None = key("Roots that the back end's certificate may come from (profiles 2 and 3), PEM.", **FILE)
    cert_file: str | None = key(
        "Our certificate (profile 3), PEM. Counts until the back end has had another made.", **FILE
    )
    key_file: str | None = key("Its key (profile 3), PEM, not encrypted.", **FILE)
    installer: str | None = key(
        "A program that installs firmware: it is given the file, and 0 means that it is installed. With "
        "firmware_ca_file only; without both the back end cannot update the firmware.",
        **FILE,
    )
    firmware_ca_file: str | None = key("Roots that who signs firmware is held against, PEM.", **FILE)
    vendor: str = key(
        "Who made the charger.", default="Quadrant", pattern=r"[^\x00-\x1f]{1,20}", shape="1 to 20 characters"
    )
    model: str | None = key(
        "Which model it is; absent: the board's name.",
        default=None,
        pattern=r"[^\x00-\x1f]{1,20}",
        shape="1 to 20 characters",
    )
    serial: str = key(
        "Its serial number; also the name (CN) that certificates are asked for.",
        default="0",
        pattern=r"[^\x00-\x1f]{1,25}",
        shape="1 to 25 characters",
    )
    id_tag: str = key(
        "OCPP 1.6 only: who is named at the start of a session, as nobody is asked yet.",
        default="unknown",
        pattern=r"[^\x00-\x1f]{1,20}",
        shape="1 to 20 characters",
    )
    meter_interval_s: float = key(
        "Meter values of a session are sent this often.", default=60.0, unit="s", low=1.0, high=86_400.0
    )
    message_timeout_s: float = key(
        "An answer is awaited for so long (30 s: libocpp).", default=30.0, unit="s", low=1.0, high=300.0
    )
    retry_minimum_s: float = key("First wait before connecting again.", default=10.0, unit="s", low=1.0, high=3600.0)
    retry_random_s: float = key("At most so much is added at random.", default=10.0, unit="s", low=0.0, high=3600.0)
    retry_repeat: int = key("The wait doubles so many times.", default=5, low=0, high=10)
    clock: str = key(
        "Whose time is told: ours, or the back end's for a machine without a clock of its own.",
        default="machine",
        choices=("machine", "back end"),
    )
    negative_limits: bool = key(
        "A negative limit of a charging profile means discharging: all that 1.6 and 2.0.1 have for it. Without it such "
        "a profile is refused.",
        default=False,
    )
    site_meter: bool = key(
        "The AC meter measures the connection of the whole site, this charger included; LocalLoadBalancing needs it.",
        default=False,
    )
    balance_upper_w: float = key(
        "LocalLoadBalancing: the car gives what the site draws above this (+ = import).",
        default=0.0,
        unit="W",
        low=-1e6,
        high=1e6,
    )
    balance_lower_w: float = key(
        "LocalLoadBalancing: the car takes what the site draws below this (negative: what it feeds in).",
        default=0.0,
        unit="W",
        low=-1e6,
        high=1e6,
    )


@dataclass(frozen=True, slots=True)
class Web:
    """The service screen (docs/service-screen.md)."""

    enabled: bool = key("Serve it.", default=True)
    listen: str = key(
        "Address to listen on. Until a password is set (`quadrant web password`) it is the loopback, whatever stands "
        "here.",
        default="127.0.0.1",
        pattern=r"[0-9A-Fa-f.:]{2,39}",
        shape="an IP address, such as 127.0.0.1 or 0.0.0.0",
    )
    port: int = key("TCP port.", default=8080, low=1, high=65535)


_TOPIC = {"pattern": r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,4}", "shape": "letters, digits, _, - and /"}


@dataclass(frozen=True, slots=True)
class Mqtt:
    """A broker, with Home Assistant's discovery (docs/mqtt.md). Without this section nobody is told anything."""

    host: str = key(
        "Name or address of the broker.", pattern=r"[A-Za-z0-9.:_-]{1,253}", shape="a host name or an IP address"
    )
    port: int = key("Its TCP port (8883 is usual with TLS).", default=1883, low=1, high=65535)
    tls: bool = key("Encrypt, and check the broker's certificate.", default=False)
    ca_file: str | None = key("Roots that the broker's certificate may come from, PEM; absent: the system's.", **FILE)
    username: str | None = key(
        "User at the broker.", default=None, pattern=r"[^\x00-\x1f]{1,100}", shape="1 to 100 characters"
    )
    password_file: str | None = key("A file with the password, one line.", **FILE)
    topic: str = key("Topics begin with it.", default="quadrant", **_TOPIC)
    node: str | None = key(
        "The charger's own name in topics and entities; two chargers of one broker need two. Absent: the board's name.",
        default=None,
        pattern=r"[A-Za-z0-9_-]{1,64}",
        shape="letters, digits, _ and -",
    )
    discovery_prefix: str = key("Where Home Assistant looks for entities.", default="homeassistant", **_TOPIC)
    commands: bool = key(
        "Obey mode, set-point and minimum state of charge. Whoever may publish on the broker may then ask for power.",
        default=False,
    )
    lease_s: float = key(
        "What was commanded ends after so long unless it is said again (policy value: a quarter of an hour).",
        default=900.0,
        unit="s",
        low=10.0,
        high=86_400.0,
    )
