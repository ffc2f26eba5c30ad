"""OpenDER (EPRI's open model of IEEE 1547-2018, PyPI `opender`) set as one of our profiles, over a series.

Its traps, each seen in its source (version 2.2.0): the time step is a class variable, shared by all models of a
process; a delay starts at infinity, so that a first sample outside trips at once; 60 Hz is built in; setting the
abnormal category rewrites trips. So: one model at a time, the category first, one good step before the series.
Its signs: P + = discharging, Q + = injecting. `run` returns ours: P + = charging, Q + = absorbing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from firmware.grid_codes import Chain, GridCode, Quantity, Side, internal_delay
from firmware.grid_support.fixed import FixedPf, FixedVar
from firmware.grid_support.freq_droop import FreqDroopSettings
from firmware.grid_support.settings import SupportSettings
from firmware.grid_support.volt_var import VoltVarSettings
from firmware.grid_support.watt_var import WattPfSettings, WattVarSettings
from firmware.protection.types import GridSample

NOMINAL_V = 240.0  # phase to phase, of OpenDER's own defaults; every voltage here is a share of nominal
MISSING = "OpenDER is not installed: `make bench` and `make test-slow` install it (extra `bench` of pyproject.toml)"
IDEAL = Chain(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # a chain without delay: the code's times themselves
MODEL_HZ = 60.0  # built in
_ELEMENTS = ("uv1", "uv2", "ov1", "ov2", "uf1", "uf2", "of1", "of2")


def installed() -> bool:
    return importlib.util.find_spec("opender") is not None


class Result(NamedTuple):
    """One row. on: it exchanges power (neither tripped nor ceased). element: what trips now, '' when nothing does."""

    t: float
    p_pu: float
    q_pu: float
    on: bool
    tripped: bool
    element: str


@contextlib.contextmanager
def time_step(dt_s: float) -> Iterator[None]:
    """OpenDER's class-wide step (s), put back at the end."""
    from opender.der import DER

    before, DER.t_s = DER.t_s, dt_s
    try:
        yield
    finally:
        DER.t_s = before


def build(
    code: GridCode, support: SupportSettings, rated_w: float, *, in_service: bool = True, chain: Chain = IDEAL
) -> Any:
    """An OpenDER storage of rated_w both ways, with the trips of `code` as a board with `chain` has them and `support`.

    Its converter's own lag and its limits of current are off, like ours: a grid code's answer is compared, not a
    converter. Momentary cessation answers at once in both.
    """
    from opender import DER_BESS

    logging.disable(logging.ERROR)  # it warns of every setting outside of the ranges of IEEE 1547
    try:
        return DER_BESS(_settings(code, support, rated_w, in_service, chain))
    finally:
        logging.disable(logging.NOTSET)


def _settings(code: GridCode, support: SupportSettings, rated_w: float, in_service: bool, chain: Chain) -> Any:
    from opender import DERCommonFileFormatBESS

    category = next((c for c in ("cat1", "cat2", "cat3") if c in code.name), "cat3")
    s = DERCommonFileFormatBESS()
    s.NP_ABNORMAL_OP_CAT = {"cat1": "CAT_I", "cat2": "CAT_II", "cat3": "CAT_III"}[category]
    for name in ("NP_P_MAX", "NP_VA_MAX", "NP_P_MAX_CHARGE", "NP_APPARENT_POWER_CHARGE_MAX"):
        setattr(s, name, rated_w)
    s.NP_Q_MAX_INJ = s.NP_Q_MAX_ABS = 0.44 * rated_w
    s.initialize_NP_Q_CAPABILTY_BY_P_CURVE()
    s.NP_AC_V_NOM = NOMINAL_V
    s.NP_INV_DELAY, s.NP_CURRENT_PU, s.NP_CTE_RESP_T, s.STATUS_INIT = 0.0, 100.0, 0.0, in_service
    shift_hz = MODEL_HZ - code.nominal_f_hz
    for name, threshold, delay_s in slots(code, chain):
        axis = "V" if name[1] == "V" else "F"
        setattr(s, f"{name}_TRIP_{axis}", threshold if axis == "V" else threshold + shift_hz)
        setattr(s, f"{name}_TRIP_T", delay_s)
    es = code.enter_service
    s.ES_V_LOW, s.ES_V_HIGH = es.v_min.value, es.v_max.value
    s.ES_F_LOW, s.ES_F_HIGH = es.f_min.value + shift_hz, es.f_max.value + shift_hz
    s.ES_DELAY = es.delay_s.value
    s.ES_RAMP_RATE = ramp_s(code)
    _support(s, support)
    return s


def slots(code: GridCode, chain: Chain) -> list[tuple[str, float, float]]:
    """(setting, threshold in pu or Hz, delay in s) for each of OpenDER's eight trips.

    It has two stages a side: the two nearest to nominal get them, a third one (OV3, UV3) has no slot. A side with one
    stage has it twice, so that no setting of its own is left. Neither 10-minute mean nor rate of change has one.
    """
    found = []
    for quantity, letter in ((Quantity.VOLTAGE, "V"), (Quantity.FREQUENCY, "F")):
        for side in Side:
            name, sign = ("O", 1.0) if side is Side.OVER else ("U", -1.0)
            stages = [t for t in code.trips if t.quantity is quantity and t.side is side]
            stages.sort(key=lambda t, sign=sign: sign * t.threshold.value)  # type: ignore[misc]
            for k, trip in enumerate((*stages, *stages)[:2] if len(stages) == 1 else stages[:2], 1):
                found.append((f"{name}{letter}{k}", trip.threshold.value, internal_delay(trip, chain)))
    return found


def ramp_s(code: GridCode) -> float:
    """The ramp after entering service, from zero to rated power; 0 = none."""
    es = code.enter_service
    if es.ramp_pu_per_min is not None:
        return 60.0 / es.ramp_pu_per_min.value
    return 0.0 if es.ramp_duration_s is None else es.ramp_duration_s.value


def _support(s: Any, support: SupportSettings) -> None:
    droop = support.frequency
    s.PF_MODE_ENABLE = droop is not None
    if isinstance(droop, FreqDroopSettings):
        s.PF_DBOF, s.PF_DBUF, s.PF_KOF, s.PF_KUF = droop.db_of_hz, droop.db_uf_hz, droop.k_of, droop.k_uf
        s.PF_OLRT = droop.olrt_s
    watt = support.volt_watt
    s.PV_MODE_ENABLE = watt is not None and watt.discharge is not None
    if watt is not None and watt.discharge is not None and len(watt.discharge.points) == 2:
        (s.PV_CURVE_V1, s.PV_CURVE_P1), (s.PV_CURVE_V2, s.PV_CURVE_P2) = watt.discharge.points
        s.PV_OLRT = watt.olrt_s
    match support.reactive:
        case VoltVarSettings() as r:
            s.QV_MODE_ENABLE, s.QV_OLRT, s.QV_VREF = True, r.response_s, r.vref_pu
            if len(r.curve.points) == 4:
                for k, (v, q) in enumerate(r.curve.points, 1):
                    setattr(s, f"QV_CURVE_V{k}", v)
                    setattr(s, f"QV_CURVE_Q{k}", -q)
        case WattVarSettings() as r:
            s.QP_MODE_ENABLE, s.QP_RT = True, r.response_s
            if len(r.curve.points) == 6:
                for name, (p, q) in zip(
                    ("P3_GEN", "P2_GEN", "P1_GEN", "P1_LOAD", "P2_LOAD", "P3_LOAD"), r.curve.points, strict=True
                ):
                    setattr(s, f"QP_CURVE_{name}", -p)
                    setattr(s, f"QP_CURVE_Q{name[1:]}", -q)
        case WattPfSettings():
            s.QP_MODE_ENABLE = True  # it has no cos phi (P); for the cost of a step only
        case FixedPf() as r:
            s.CONST_PF_MODE_ENABLE, s.CONST_PF, s.CONST_PF_RT = True, r.pf, r.response_s
            s.CONST_PF_EXCITATION = "ABS" if r.absorbing else "INJ"
        case FixedVar() as r:
            s.CONST_Q_MODE_ENABLE, s.CONST_Q, s.CONST_Q_RT = True, -r.q_pu, r.response_s


def step(model: Any, v_pu: tuple[float, float, float], f_hz: float, p_set_pu: float) -> None:
    """One step; p_set_pu: + = charging."""
    model.update_der_input(p_dem_pu=-p_set_pu, v_pu=list(v_pu), f=f_hz)
    model.run()


def run(
    model: Any, samples: Sequence[GridSample], dt_s: float, p_set_pu: float, *, settle: bool = True
) -> list[Result]:
    """Every sample through `model`. settle: one good step before (out of service: one with a dead grid), see above."""
    found = []
    in_service = model.der_status != "Trip"
    with time_step(dt_s):
        if settle:
            v = 1.0 if in_service else 0.0
            step(model, (v, v, v), 60.0, p_set_pu)
        for t, v_pu, f_hz, *_ in samples:
            step(model, v_pu, f_hz, p_set_pu)
            crit = model.opstatus.tripcrit
            element = next((e.upper() for e in _ELEMENTS if getattr(crit, f"{e}_trip")), "")
            tripped = model.der_status == "Trip"
            on = not tripped and model.ridethroughperf.rt_ctrl != "Cease to Energize"
            found.append(Result(t, -model.p_out_pu + 0.0, -model.q_out_pu + 0.0, on, tripped, element))
    assert all(math.isfinite(r.p_pu) for r in found)
    return found
