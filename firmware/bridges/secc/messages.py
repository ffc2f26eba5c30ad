"""What services and the process `secc` tell each other over a Unix socket: one JSON object a line, typed both ways.

Signs as everywhere: + charges the car, - discharges it; limits are magnitudes. Times are CLOCK_MONOTONIC seconds, which
all processes of one machine share. A field that is missing, unknown, of another type or out of range makes the whole
line invalid: it changes nothing.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

MAX_LINE_BYTES = 65536  # far above any message of ours

Magnitude = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]  # the upper bound keeps infinity out
Signed = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Percent = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
Phase = Literal["none", "wait", "insulation", "precharge", "transfer", "ending", "welding", "pause"]
Ask = Literal["", "schedule", "services", "pause"]
MAX_PARTS = 24  # of a plan: a night by the half-hour (own choice; a car takes at least 12: ISO 15118-2, table 78)
LAST_EPOCH_S = 1e11  # far beyond any clock
MAX_ENTRIES = 64  # of a car's own profile (own choice; -2 permits 24, -20 2048)


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """From start_s (s from when it is told) the charger means to give at most these powers (W, magnitudes)."""

    start_s: Magnitude
    charge_w: Magnitude
    discharge_w: Magnitude


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """From start_s (s from the beginning of the profile) the car means to take power_w (W, - discharges)."""

    start_s: Magnitude
    power_w: Signed


class ChargerState(msgspec.Struct, tag="charger", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The charger's truth. The defaults are what is true when nobody says anything: nothing is available, stop.

    rated_*: what the charger can at best, told once while the session is negotiated. charge_max_* and discharge_max_*:
    what it permits now. cable_check: `passed` means that insulation was proven and the cable is dead again or about to
    be. contactors: the charger's own, by their mirror contacts; nobody may take `unknown` for open or for closed.
    stop: the car is asked to end; emergency: power is already gone. authorization: who may charge is not decided by
    the SECC. plan: what a car that negotiates is told of the hours to come, of the number plan_no; empty: the ratings.
    planning: a better plan is being made, so a car that asks for its schedule is kept waiting. ask: what a car in the
    loop is asked for; charge_only: discharging is not offered to one that chooses its service.
    """

    present_v: Signed = 0.0
    present_a: Signed = 0.0
    max_v: Magnitude = 0.0
    min_v: Magnitude = 0.0
    charge_max_a: Magnitude = 0.0
    charge_max_w: Magnitude = 0.0
    discharge_max_a: Magnitude = 0.0
    discharge_max_w: Magnitude = 0.0
    rated_charge_a: Magnitude = 0.0
    rated_charge_w: Magnitude = 0.0
    rated_discharge_a: Magnitude = 0.0
    rated_discharge_w: Magnitude = 0.0
    cable_check: Literal["idle", "running", "passed", "failed"] = "idle"
    contactors: Literal["unknown", "open", "closed"] = "unknown"
    plugged: bool = False  # pilot state B, C or D
    state_c: bool = False  # pilot state C or D
    authorization: Literal["ongoing", "accepted", "rejected"] = "ongoing"
    ready: bool = False  # a session may begin
    stop: bool = True
    emergency: bool = False
    charged_wh: Magnitude = 0.0
    discharged_wh: Magnitude = 0.0
    plan: Annotated[tuple[Part, ...], msgspec.Meta(max_length=MAX_PARTS)] = ()
    plan_no: Annotated[int, msgspec.Meta(ge=0)] = 0
    planning: bool = False
    ask: Ask = ""
    charge_only: bool = False


class CarState(msgspec.Struct, tag="car", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The car's wishes, as its messages said them. None: it did not say. Limits are magnitudes, also where a car sends
    its discharge limits as negative numbers.

    t: when the last message of the car arrived; sent_t: when this state left the SECC. Until a car is there both grow
    together. message: name of that message. target_a is signed.

    replans: it has left the loop for a new schedule, its contactors closed; no current may flow. told_plan: number of
    the charger's plan that it was told last, None before. discharge_offered: whether it could choose discharging, None
    while it has not been offered any service. profile: what it means to take, from profile_t on; anchor_s: since when
    by its own clock (s since the epoch). schedule_id: which schedule it chose; tolerance: whether it keeps to it within
    the charger's tolerance.
    """

    t: float
    sent_t: float
    phase: Phase = "none"
    protocol: Literal["", "din", "iso2", "iso20"] = ""
    bidirectional: bool = False  # the service DC_BPT was selected
    control: Literal["", "scheduled", "dynamic"] = ""
    message: str = ""
    evcc_id: str = ""
    target_v: Magnitude | None = None
    target_a: Signed | None = None
    present_v: Magnitude | None = None
    max_v: Magnitude | None = None
    min_v: Magnitude | None = None
    charge_max_a: Magnitude | None = None
    charge_max_w: Magnitude | None = None
    discharge_max_a: Magnitude | None = None
    discharge_max_w: Magnitude | None = None
    soc_pct: Percent | None = None
    min_soc_pct: Percent | None = None
    target_soc_pct: Percent | None = None
    max_soc_pct: Percent | None = None
    capacity_wh: Magnitude | None = None
    departure_s: Magnitude | None = None  # from now on
    target_energy_wh: Signed | None = None
    max_energy_wh: Signed | None = None
    min_energy_wh: Signed | None = None  # negative: how far it may be discharged
    max_v2x_wh: Signed | None = None
    min_v2x_wh: Signed | None = None
    replans: bool = False
    told_plan: int | None = None
    discharge_offered: bool | None = None
    profile: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MAX_ENTRIES)] = ()
    profile_t: float = 0.0
    profile_s: Magnitude | None = None  # how long it is; None: it does not say
    anchor_s: Annotated[float, msgspec.Meta(ge=0.0, le=LAST_EPOCH_S)] | None = None
    schedule_id: int | None = None
    tolerance: bool | None = None


class SessionEnded(msgspec.Struct, tag="ended", frozen=True, forbid_unknown_fields=True):
    """A session is over; `reason` is the package's own sentence."""

    state: str
    reason: str


class Ready(msgspec.Struct, tag="ready", frozen=True, forbid_unknown_fields=True):
    """The SECC listens for a car on `interface`."""

    interface: str


ToSecc = ChargerState
FromSecc = CarState | SessionEnded | Ready
_encoder = msgspec.json.Encoder()


def encode(message: ToSecc | FromSecc) -> bytes:
    """One line."""
    return _encoder.encode(message) + b"\n"


class Lines:
    """Bytes of a stream to messages. Lines that are no message are counted in `bad` and change nothing."""

    def __init__(self, kinds: object) -> None:
        """kinds: ToSecc or FromSecc."""
        self._decoder: msgspec.json.Decoder[ToSecc | FromSecc] = msgspec.json.Decoder(kinds)
        self._pending = b""
        self._skip = False  # inside a line that became too long
        self.bad = 0

    def feed(self, chunk: bytes) -> list[ToSecc | FromSecc]:
        """The messages that `chunk` completes, oldest first."""
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        messages: list[ToSecc | FromSecc] = []
        for line in lines:
            if self._skip:
                self._skip = False
                continue
            try:
                message = self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.bad += 1
            else:
                messages.append(message)
        if len(self._pending) > MAX_LINE_BYTES:
            self.bad += not self._skip
            self._pending, self._skip = b"", True
        return messages


def finite(value: float) -> float:
    """`value` in the range that a message can carry; 0 for what is no number."""
    return max(-1e9, min(1e9, value)) if math.isfinite(value) else 0.0
