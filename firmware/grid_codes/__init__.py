"""Grid codes as data, and the loader that checks them. Pure: standard library only.

`load` reads a profile to run and `inspect` one to look at, `adjust` moves numbers inside the ranges the code gives,
`internal_delay` turns a code's time into the delay that a board uses.
"""

from firmware.grid_codes.adjust import adjust
from firmware.grid_codes.chain import Chain, check_response, internal_delay
from firmware.grid_codes.loader import inspect, load, names, sources
from firmware.grid_codes.model import (
    ClearingMax,
    Confidence,
    Curve,
    DelayMinAndDisconnectMax,
    EnterService,
    GridCode,
    GridCodeError,
    Mean10Min,
    MeanMethod,
    MomentaryCessation,
    Quantity,
    RelaySetting,
    RideThroughMode,
    RideThroughRow,
    Section,
    Setting,
    Side,
    TripSetting,
    TripTime,
)

__all__ = [
    "Chain",
    "ClearingMax",
    "Confidence",
    "Curve",
    "DelayMinAndDisconnectMax",
    "EnterService",
    "GridCode",
    "GridCodeError",
    "Mean10Min",
    "MeanMethod",
    "MomentaryCessation",
    "Quantity",
    "RelaySetting",
    "RideThroughMode",
    "RideThroughRow",
    "Section",
    "Setting",
    "Side",
    "TripSetting",
    "TripTime",
    "adjust",
    "check_response",
    "inspect",
    "internal_delay",
    "load",
    "names",
    "sources",
]
