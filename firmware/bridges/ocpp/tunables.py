"""What the back end may change about the bridge itself (not about power): numbers and switches, kept over power.

device_model.py says under which variable each field is known and which range it has; everybody else reads the field.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo

from firmware.bridges.ocpp.local_time import zone_of
from firmware.bridges.ocpp.network import ATTEMPTS

TEXTS = frozenset({"organization"})
WORDS = {"ignored_offline": ("ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile")}
MODE_INTERVALS = {
    "Idle": "idle_interval_s",
    "ChargingOnly": "charging_interval_s",
    "CentralSetpoint": "setpoint_interval_s",
    "CentralFrequency": "frequency_interval_s",
    "LocalFrequency": "local_frequency_interval_s",
    "ExternalSetpoint": "external_interval_s",
    "ExternalLimits": "external_limits_interval_s",
    "LocalLoadBalancing": "balancing_interval_s",
}


@dataclass(slots=True)
class Tunables:
    """Every field is a whole number (seconds, a count), a switch, a list of numbers, one of TEXTS or WORDS, or a time
    zone. Defaults are policy values except where named."""

    heartbeat_s: float = 300.0
    meter_interval_s: float = 60.0  # the board's
    attempts: int = 3  # libocpp's default of MessageAttempts for transaction messages
    attempt_interval_s: float = 30.0  # libocpp's default of MessageAttemptInterval
    retry_minimum_s: float = 10.0  # the board's, as the next two; they count from the next start
    retry_random_s: float = 10.0
    retry_repeat: int = 5
    authorize: bool = False  # nobody charges without a token; False: every car may
    authorize_remote: bool = False  # the token of a remote start is asked for as well
    local_offline: bool = True  # list and cache count without the back end
    local_pre: bool = True  # list and cache count with it
    unknown_offline: bool = False  # without the back end, a token that nobody knows may charge
    stop_on_invalid: bool = True
    cache: bool = True
    cache_s: float = 604_800.0  # an entry that nobody looked at for a week is forgotten
    local_list: bool = True
    connection_attempts: int = ATTEMPTS  # of one way, before the next is tried
    priority: str = ""  # slots of ways to the back end, with commas; empty: the board's
    connect_timeout_s: float = 60.0  # from a remote start to the plug
    aligned_s: float = 0.0  # between values by the clock; 0: there are none
    aligned_idle: bool = False  # values by the clock outside of transactions only
    limit_significance_pct: float = 1.0  # of the rating: a smaller change of a local limit is not told
    limit_schedules: bool = True  # a local limit is told with its numbers
    ignored_offline: str = ""  # purposes of profiles that do not hold without the back end
    # Between meter values while a mode of MODE_INTERVALS leads; 0: as without one.
    idle_interval_s: float = 0.0
    charging_interval_s: float = 0.0
    setpoint_interval_s: float = 0.0
    frequency_interval_s: float = 0.0
    local_frequency_interval_s: float = 0.0
    external_interval_s: float = 0.0
    external_limits_interval_s: float = 0.0
    balancing_interval_s: float = 0.0
    balance_upper_w: float = 0.0  # of LocalLoadBalancing; the board's
    balance_lower_w: float = 0.0
    time_zone: str = ""  # of schedules in local time; empty: nobody has said it
    organization: str = ""  # whose charger this is, in a request for a certificate; empty: nobody has said it
    signing_wait_s: float = 300.0  # for a certificate, before it is asked for again
    signing_repeats: int = 3

    def set(self, field: str, text: str, low: float, high: float) -> None:
        """Take what somebody wrote. Raises ValueError with a sentence; then nothing changed."""
        old = getattr(self, field)
        if isinstance(old, bool):
            if text.lower() not in ("true", "false"):
                raise ValueError(f"must be true or false, not {text[:40]!r}")
            setattr(self, field, text.lower() == "true")
            return
        if field in TEXTS:
            if not low <= len(text) <= high or not text.isprintable():
                raise ValueError(f"must have {low:g} to {high:g} printable characters")
            setattr(self, field, text)
            return
        if field in WORDS:
            words = [word for word in re.split(" *, *", text.strip()) if word]
            strange = [word for word in words if word not in WORDS[field]]
            if strange or len(words) < low:
                raise ValueError(f"must be some of {', '.join(WORDS[field])}, not {text[:40]!r}")
            setattr(self, field, ",".join(dict.fromkeys(words)))
            return
        if field == "time_zone":
            setattr(self, field, zone_of(text).key)
            return
        if isinstance(old, str):
            numbers = re.split(" *, *", text)
            if not all(number.isdecimal() and number.isascii() for number in numbers):
                raise ValueError(f"must be numbers with commas, not {text[:40]!r}")
            outside = [number for number in numbers if not low <= int(number) <= high]
            if outside or len(set(numbers)) != len(numbers):
                raise ValueError(f"must be different numbers of {low:g} to {high:g}, not {text[:40]!r}")
            setattr(self, field, ",".join(numbers))
            return
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text):
            raise ValueError(f"must be a whole number, not {text[:40]!r}")
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"{value} is outside of {low:g} to {high:g}")
        setattr(self, field, type(old)(value))

    def show(self, field: str) -> str:
        """As the back end reads it."""
        value = getattr(self, field)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return value
        return str(math.ceil(value))  # a board may have parts of a second

    @property
    def zone(self) -> ZoneInfo | None:
        """Of schedules in local time; None while nobody has set it."""
        return zone_of(self.time_zone) if self.time_zone else None

    def as_dict(self) -> dict[str, Any]:
        """All fields."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
