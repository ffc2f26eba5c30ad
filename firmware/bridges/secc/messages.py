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


class ChargerState(msgspec.Struct, tag="charger", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The charger's truth. The defaults are what is true when nobody says anything: nothing is available, stop.

    rated_*: what the charger can at best, told once while the session is negotiated. charge_max_* and discharge_max_*:
    what it permits now. cable_check: `passed` means that insulation was proven and the cable is dead again or about to
    be. contactors: the charger's own, by their mirror contacts; nobody may take `unknown` for open or for closed.
    stop: the car is asked to end; emergency: power is already gone. authorization: who may charge is not decided by
    the SECC.
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


class CarState(msgspec.Struct, tag="car", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The car's wishes, as its messages said them. None: it did not say. Limits are magnitudes, also where a car sends
    its discharge limits as negative numbers.

    t: when the last message of the car arrived; sent_t: when this state left the SECC. Until a car is there both grow
    together. message: name of that message. target_a is signed.
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
