"""The shortcuts of a calm grid change nothing: each is held against a twin that goes the long way at every step."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firmware.replay
from firmware.grid_codes import GridCode, load
from firmware.grid_support.compose import GridSupport, Permission
from firmware.grid_support.frequency_power import FrequencyPower
from firmware.grid_support.settings import REACTIVE_SECTIONS, SupportSettings, capability_of, settings_of, switched
from firmware.grid_support.volt_var import VoltVar
from firmware.grid_support.volt_watt import VoltWatt
from firmware.protection.channel import Channel
from firmware.protection.closest import closest
from firmware.protection.grid import GridProtection
from firmware.protection.islanding import Islanding, Mode
from firmware.protection.types import GridSample, GridStatus, Transfer
from tests.protection.bench import CHAIN, ON, at_once

RATED_W = 22_000.0
TOLEDO = Path(__file__).parents[2] / "hil" / "data" / "toledo-2025-04-28.csv"


def never(value: object) -> Any:
    return property(lambda self: value, lambda self, new: None)


class LongChannel(Channel):
    """Is never idle: every element judges every sample, every question is asked at every step."""

    idle = never(False)
    _uv_idle = never(False)
    _ov_idle = never(False)
    _uf_idle = never(False)
    _of_idle = never(False)


class LongFrequency(FrequencyPower):
    __slots__ = ()

    def rests(self, f_hz: float) -> bool:
        return False


class LongVoltWatt(VoltWatt):
    _level = never((math.inf, -math.inf))


class LongVoltVar(VoltVar):
    _flat = never((math.inf, -math.inf, 0.0))


class LongSupport(GridSupport):
    """Comes back to nothing: composes every step anew, and looks at the curves in each."""

    _facts = never(None)
    _fixed = never(None)
    _last = never(None)

    def _start(self) -> None:
        super()._start()
        if self._frequency is not None:
            self._frequency.__class__ = LongFrequency
        if self._volt_watt is not None:
            self._volt_watt.__class__ = LongVoltWatt
        if isinstance(self._reactive, VoltVar):
            self._reactive.__class__ = LongVoltVar


def long_way(protection: GridProtection) -> GridProtection:
    protection._pilot.__class__ = protection._converter.__class__ = LongChannel
    return protection


def quick_mean(code: GridCode) -> GridCode:
    """The mean over half a second instead of ten minutes, so that it has its say in a short series."""
    mean = code.mean_10min
    if mean is None:
        return code
    interval, window = replace(mean.interval_s, value=0.05), replace(mean.window_s, value=0.5)
    return replace(code, mean_10min=replace(mean, interval_s=interval, window_s=window))


def without_ramp(code: GridCode) -> GridCode:
    return replace(code, enter_service=replace(code.enter_service, ramp_duration_s=None, ramp_pu_per_min=None))


def codes() -> Iterator[GridCode]:
    for name, nominal_v in (
        ("de_vde_ar_n_4105_2018", 230.0),
        ("ieee1547_2018_cat3", 277.0),
        ("uk_g98", 230.0),
        ("it_cei_0_21", 230.0),
        ("us_ca_rule21", 277.0),
        ("as4777_2_2020_au_a", 230.0),
    ):
        code = quick_mean(load(name, nominal_v=nominal_v, allow_unverified=True))
        yield at_once(code)
        yield without_ramp(at_once(code))
        yield code


CODES = tuple(codes())


def edges(code: GridCode) -> tuple[list[float], list[float]]:
    """Every V and f at which something begins or ends, exactly, and the numbers next to it."""
    volts = [t.threshold.value for t in code.trips if t.threshold.unit == "pu"]
    hertz = [t.threshold.value for t in code.trips if t.threshold.unit == "Hz"]
    service = code.enter_service
    volts += [service.v_min.value, service.v_max.value, 0.0, 0.1, 0.2, 1.0, 1.05, math.nan, -1.0, math.inf]
    hertz += [service.f_min.value, service.f_max.value, math.nan, math.inf, 0.0]
    for row in code.ride_through:
        (volts if row.quantity.value == "voltage" else hertz).extend((row.lo.value, row.hi.value))
    beside = (-math.inf, math.inf)
    found = [[*v, *(math.nextafter(x, end) for x in v for end in beside if math.isfinite(x))] for v in (volts, hertz)]
    return found[0], found[1]


class Twins:
    """The same inputs to both; every output must be the same."""

    def __init__(self, code: GridCode, mode: Mode, seed: int) -> None:
        self.code = code
        self.own, self.long = (
            GridProtection(
                code,
                CHAIN,
                islanding=None if mode is Mode.OFF else Islanding(mode, code.nominal_f_hz, random.Random(seed)),
                rng=random.Random(seed),
            )
            for _ in range(2)
        )
        long_way(self.long)
        functions, capability = settings_of(code, RATED_W), capability_of(code, RATED_W)
        self.own_support, self.long_support = GridSupport(functions, capability), LongSupport(functions, capability)
        self.served = False
        self.steps = 0

    def step(self, now: float, pilot: list[GridSample], converter: list[GridSample], **more: Any) -> GridStatus:
        status = self.own.step(now, pilot, converter, **more)
        assert repr(status) == repr(self.long.step(now, pilot, converter, **more))  # as text: nan is nan
        assert self.own.conditions == self.long.conditions
        self.steps += 1
        if self.steps % 7 == 0:  # not always: that nobody asks must not make a difference either
            near = self.own._closest()
            assert repr(self.own.elements()) == repr(self.long.elements())
            assert repr(near) == repr(closest(self.own.elements()))
        return status

    def permit(self, now: float, sample: GridSample, asked_w: float, status: GridStatus, **more: Any) -> None:
        if status.state not in ON:
            self.served = False
            return
        if not self.served:
            self.own_support.enter_service(now)
            self.long_support.enter_service(now)
            self.served = True
        found: list[tuple[Permission, object]] = []
        for support in (self.own_support, self.long_support):
            p = support.step(now, sample.v_pu, sample.f_hz, asked_w, service_pu=status.power_limit_pu, **more)
            found.append((p, (p.reason, support.why(p.min_by), support.why(p.max_by))))
        assert found[0] == found[1]

    def retune(self, now: float, by: float, functions: SupportSettings) -> None:
        code = self.code
        trips = tuple(replace(t, threshold=replace(t.threshold, value=t.threshold.value * by)) for t in code.trips)
        for protection in (self.own, self.long):
            protection.retune(now, replace(code, trips=trips))
        for support in (self.own_support, self.long_support):
            support.retune(functions)
        assert repr(self.own.elements()) == repr(self.long.elements())


@st.composite
def stretches(draw: st.DrawFn, code: GridCode) -> list[tuple[float, float, float, float, int]]:
    """(V pu, f Hz, noise, slope in Hz a tick, ticks): calm ones, and ones at an edge."""
    volts, hertz = edges(code)
    v = st.one_of(st.just(1.0), st.just(1.0), st.sampled_from(volts))
    f = st.one_of(st.just(code.nominal_f_hz), st.just(code.nominal_f_hz), st.sampled_from(hertz))
    slope = st.sampled_from((0.0, 0.0, 0.0, 0.015, -0.03))
    one = st.tuples(v, f, st.sampled_from((0.0, 1e-3, 0.02)), slope, st.integers(1, 90))
    return draw(st.lists(one, min_size=3, max_size=8))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(CODES), st.sampled_from(Mode), st.integers(0, 2**32))
def test_a_shortcut_is_never_seen_from_outside(data: st.DataObject, code: GridCode, mode: Mode, seed: int) -> None:
    rng = random.Random(seed)
    names = [s.name for s in code.support if s.name in REACTIVE_SECTIONS]
    if names and seed % 3:
        code = switched(code, [names[seed % len(names)]])
    twins = Twins(code, mode, seed)
    now, asked_w, expected, k = 1000.0, -10_000.0, True, 0
    for v, f, noise, slope, ticks in [(1.0, code.nominal_f_hz, 0.0, 0.0, 30), *data.draw(stretches(code))]:
        for _ in range(ticks):
            k += 1
            f += slope
            now += rng.choice((0.01,) * 30 + (0.0, 0.005, 0.09, 0.3))
            t = now + rng.choice((0.0,) * 30 + (-0.05, -1.0, 0.04, 0.2))  # clocks go wrong
            wander = rng.gauss(0.0, noise) if noise else 0.0
            seen = (v + wander, 1.0 + wander, v + wander), f + wander
            held = rng.random() < 0.05
            pilot = [GridSample(t - 0.005 * back, *seen, held) for back in range(rng.choice((1, 1, 2, 0)))][::-1]
            shift = rng.choice((0.0, 0.0, 0.0, 0.06))
            converter = [GridSample(t - 0.003, (seen[0][0] + shift, *seen[0][1:]), seen[1])] if k % 5 == 0 else []
            expected ^= rng.random() < 0.01
            transfer = rng.choice((Transfer(-0.5, 0.0), Transfer(0.3, 0.1), None))
            status = twins.step(
                now, pilot, converter if expected else [], converter_expected=expected, transfer=transfer
            )
            if pilot and all(map(math.isfinite, seen[0])) and not math.isinf(seen[1]):
                flowing_w = None if seed % 2 else rng.choice((asked_w, 0.9 * asked_w))
                more = {"flowing_w": flowing_w, "reactive": rng.random() > 0.01, "service_clause": "5.1"}
                twins.permit(now, pilot[-1], asked_w, status, **more)
            if rng.random() < 0.02:
                asked_w = rng.choice((-10_000.0, 0.0, 5_000.0, RATED_W, -RATED_W))
            if rng.random() < 0.01:
                other = switched(code, [rng.choice(names)]) if names else code
                twins.retune(now, rng.choice((1.0, 1.005, 0.995)), settings_of(other, RATED_W))


def test_a_recorded_collapse_leads_to_the_same_events_and_the_same_power(monkeypatch: pytest.MonkeyPatch) -> None:
    code = load("es_rd1699", nominal_v=230.0, allow_unverified=True)
    with TOLEDO.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if 1040.0 <= float(row["t_s"]) <= 1300.0]
    samples = [
        GridSample(float(row["t_s"]), tuple(float(row[f"v{k}_v"]) / 26_558.0 for k in (1, 2, 3)), float(row["f_hz"]))
        for row in rows
    ]
    assert len(samples) > 100
    short = firmware.replay.replay(samples, code, CHAIN, rated_w=RATED_W, p_set_w=-10_000.0)
    begun = firmware.replay._begun
    monkeypatch.setattr(firmware.replay, "_begun", lambda *args, **more: long_way(begun(*args, **more)))
    monkeypatch.setattr(firmware.replay, "GridSupport", LongSupport)
    long = firmware.replay.replay(samples, code, CHAIN, rated_w=RATED_W, p_set_w=-10_000.0)
    assert short.first_trip is not None
    assert repr(short) == repr(long)


def test_the_long_way_is_really_taken_by_the_twin_and_the_short_one_by_the_other() -> None:
    twins = Twins(CODES[0], Mode.OFF, 1)
    for k in range(10):
        sample = GridSample(1000.0 + 0.01 * k, (1.0, 1.0, 1.0), 50.0)
        status = twins.step(sample.t, [sample], [sample], converter_expected=True)
        twins.permit(sample.t, sample, 0.0, status)
    assert (twins.own._pilot.idle, twins.own._converter.idle) == (True, True)
    assert (twins.long._pilot.idle, twins.long._converter.idle) == (False, False)
