"""Engines and frames for the tests of OCPP."""

from __future__ import annotations

import itertools
import json
from typing import Any

from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.rpc import Rpc
from firmware.bridges.ocpp.schemas import schemas_of as schemas

ALL = (V16, V201, V21)
TIME = "2026-11-20T11:00:00Z"


def engine(dialect: Dialect, *supported: str, timeout_s: float = 30.0) -> Rpc:
    ids = (f"id-{n}" for n in itertools.count(1))
    return Rpc(dialect, schemas(dialect), supported=frozenset(supported), timeout_s=timeout_s, new_id=lambda: next(ids))


def heard(rpc: Rpc, frame: Any, now: float = 0.0) -> tuple[list[Any], list[Any]]:
    """What the engine sends (decoded) and tells on a frame; text is taken as it is."""
    out, events = rpc.receive(now, frame if isinstance(frame, str) else json.dumps(frame))
    return [json.loads(text) for text in out], events
