"""The series on which our protection and support are held against OpenDER, and why the two may differ on each.

A case says what is fed to both; `allowed` names the reasons (REASONS) by which they may differ, and `compare` judges
every difference by the number that its reason predicts. A difference without a reason is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from firmware.grid_codes import Chain, ClearingMax, GridCode, Quantity, Side, adjust, load
from firmware.grid_support.fixed import FixedPf, FixedVar
from firmware.grid_support.settings import SupportSettings, settings_of
from firmware.protection.types import GridSample

IDEAL = Chain(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # a chain without delay: the code's times themselves are compared
RATED_W = 22_000.0
NOMINAL_V = 120.0
HOLD_S = 0.1  # firmware/protection/momentary_cessation.py

REASONS = {
    "step": "OpenDER counts the first sample outside as a whole time step, so its delays end one step early. Ours "
    "count from the time of that sample: a delay of T operates at the sample T later. IEEE 1547-2018 demands at the "
    "latest (clearing time); both are right, ours is independent of the sampling.",
    "lag": "OpenDER's open-loop response is a trapezoidal filter with time constant T/2.3; ours is the exact lag with "
    "T/ln 10. By the definition (90 % of a step after T, clause 3.1) the closed form is 1 - 10^(-t/T), which ours "
    "meets to the last digit; OpenDER is off by up to 0.05 % of the step and half a sample.",
    "hold": "After a ceasing row ours gives power back when the voltage has been out of it for 0.1 s (own choice: "
    "against switching at every half cycle of a hovering voltage); OpenDER's return delay is set to 0 s. The code "
    "allows 0.4 s (momentary_cessation.restore_max_s), of which ours uses a quarter.",
    "blind": "Ours believes no frequency below 0.2 pu of voltage: a dead bus whose measured frequency runs free must "
    "not trip by frequency, and is timed by under-voltage instead (own choice, clause 6.5.1 leaves the measurement to "
    "the maker; the voltage trip still comes in its time). OpenDER takes the number it is given.",
    "first": "OpenDER's delays start at infinity, so a first sample outside operates at once. No clause allows that "
    "inside of must-ride-through; ours starts stopped.",
    "edge": "Exactly at the threshold: OpenDER's detour over volts and the square root of 3 makes 1.1 pu into "
    "1.1000000000000003 pu, which is above 1.1 pu. Table 13 trips above the threshold; ours is right.",
    "phase": "Unbalanced voltage: ours limits discharging by the highest phase (clause 5.4.2 leaves it open, the "
    "tighter choice is taken); OpenDER by the mean of the three.",
    "excitation": "Constant power factor while charging: OpenDER's 'absorbing' keeps the sign of Q over P, so that it "
    "injects when power flows in. Ours absorbs in both directions, as the setting says (clause 5.3.2 knows injection "
    "of power only; OCPP 2.1 and IEEE 2030.5 have two settings, one for each direction).",
    "reopen": "After a trip ours stays open for 1 s at least (own choice, contactors must really have opened); OpenDER "
    "enters service as soon as the delay of the code is over, here 0 s.",
    "pickup": "Frequency leaves the band a second time while the power is still on its way back. OpenDER takes the "
    "power of that moment as the new reference, which is the letter of clause 6.5.2.7 (the output when the frequency "
    "exceeds the dead band); the response then piles up with every dip. Ours keeps the first reference until the "
    "change has died away below 0.1 % of rated power, so that one event has one reference (own choice, against the "
    "letter).",
    "circle": "P and Q that do not fit into the circle together: OpenDER solves for the point where curve and circle "
    "meet, at once; ours comes to the same point along the open-loop response of Q. The ends agree.",
}


@dataclass(frozen=True)
class Case:
    """t_s: length. dt_s: step of both. v, f: time -> phase voltages (pu), Hz. p_set_pu: + = charging."""

    name: str
    code: GridCode
    t_s: float
    dt_s: float
    v: Callable[[float], tuple[float, float, float]]
    f: Callable[[float], float]
    p_set_pu: float = -0.45
    support: SupportSettings | None = None
    in_service: bool = True
    settle: bool = True
    allowed: tuple[str, ...] = ()
    slow: bool = False
    predicts: Mapping[str, float] = field(default_factory=dict)  # largest difference of "P", "Q" by closed form, pu

    def samples(self) -> list[GridSample]:
        # Microseconds: a grid of whole steps, the same floating-point number at the same step in every case.
        times = [round(k * self.dt_s, 6) for k in range(1, round(self.t_s / self.dt_s) + 1)]
        return [GridSample(t, self.v(t), self.f(t)) for t in times]


def three(v: float) -> tuple[float, float, float]:
    return (v, v, v)


def steps(*parts: tuple[float, float]) -> Callable[[float], float]:
    """(from s, value) ...: the value of the last part that has begun."""

    def at(t: float) -> float:
        return [value for start, value in parts if t > start - 1e-9][-1]

    return at


def flat(value: float) -> Callable[[float], float]:
    return lambda t: value


def even(of: Callable[[float], float]) -> Callable[[float], tuple[float, float, float]]:
    return lambda t: three(of(t))


def ieee(category: int, **changes: float) -> GridCode:
    code = load(f"ieee1547_2018_cat{category}_normB", nominal_v=NOMINAL_V)
    return adjust(code, {key.replace("__", "."): value for key, value in changes.items()})


def switched_on(code: GridCode, *names: str) -> SupportSettings:
    """The profile's settings with these support sections on (the profile carries them switched off)."""
    sections = tuple(replace(s, enabled=True) if s.name in names else s for s in code.support)
    return settings_of(replace(code, support=sections), RATED_W)


def without_droop(settings: SupportSettings) -> SupportSettings:
    return replace(settings, frequency=None)


def cases() -> list[Case]:
    return [*_trips(), *_rides(), *_service(), *_droop(), *_voltage(), *_reactive()]


def _trips() -> list[Case]:
    """Each stage of each category, just beyond (trips) and just inside (does not) of its threshold; phases; pauses."""
    found = []
    for category in (1, 2, 3):
        code = ieee(category)
        for trip in code.trips:
            assert isinstance(trip.time, ClearingMax)
            limit_s = trip.time.limit.value
            dt = 0.001 if limit_s < 1.0 else 0.01 if limit_s < 100.0 else 0.1
            sign = 1.0 if trip.side is Side.OVER else -1.0
            voltage = trip.quantity is Quantity.VOLTAGE
            margin = 0.01 if voltage else 0.05
            for beyond in (True, False):
                value = trip.threshold.value + sign * margin * (1.0 if beyond else -1.0)
                at = steps((0.0, 1.0 if voltage else 60.0), (0.5, value))
                # Inside of this stage the next milder one goes on counting: stop before it is due.
                t_s = round(0.5 + limit_s + (10 * dt if beyond else 2 * dt), 6)
                side = "beyond" if beyond else "inside"
                name = f"Category {'I' * category}: {trip.id} {side} ({value:g} {trip.threshold.unit})"
                found.append(
                    Case(
                        name, code, t_s, dt, even(at) if voltage else even(flat(1.0)), flat(60.0) if voltage else at,
                        support=without_droop(settings_of(code, RATED_W)), allowed=("step",), slow=limit_s > 2.0,
                    )
                )  # fmt: skip
    code = ieee(3)
    plain = without_droop(settings_of(code, RATED_W))
    for k in range(3):
        one = lambda value, k=k: tuple(value if i == k else 1.0 for i in range(3))  # noqa: E731
        for value, name in ((1.25, "swell to 1.25 pu"), (0.3, "sag to 0.3 pu")):
            found.append(
                Case(f"one phase (L{k + 1}): {name}", code, 3.0, 0.001 if value > 1.0 else 0.01,
                     lambda t, one=one, value=value: one(value if t > 0.5 else 1.0), flat(60.0),
                     support=plain, allowed=("step",))
            )  # fmt: skip
    pulses = lambda on, off, low: lambda t: three(low if (t % (on + off)) < on else 1.0)  # noqa: E731
    found += [
        Case("UV2: sags of 1.9 s with 0.2 s between: the timer restarts", code, 12.0, 0.01, pulses(1.9, 0.2, 0.4),
             flat(60.0), support=plain, allowed=("step", "hold")),
        Case("OV2: swells of 0.15 s with 0.05 s between", code, 2.0, 0.001, pulses(0.15, 0.05, 1.25), flat(60.0),
             support=plain, allowed=("step", "hold")),
        Case("fault that wanders L1, L2, L3 every 0.6 s at 0.4 pu: one condition", code, 3.0, 0.01,
             lambda t: tuple(0.4 if i == int(t / 0.6) % 3 and t > 0.0 else 1.0 for i in range(3)), flat(60.0),
             support=plain, allowed=("step",)),
        Case("ramp of frequency 2 Hz/s up to 63 Hz", code, 2.5, 0.001, even(flat(1.0)),
             lambda t: min(60.0 + 2.0 * max(0.0, t - 0.2), 63.0), support=plain, allowed=("step",)),
        Case("ramp of frequency 3 Hz/s down to 56 Hz", code, 2.5, 0.001, even(flat(1.0)),
             lambda t: max(60.0 - 3.0 * max(0.0, t - 0.2), 56.0), support=plain, allowed=("step",)),
        Case("voltage and frequency together: 0.6 pu, 62.5 Hz", code, 1.0, 0.001, even(steps((0.0, 1.0), (0.3, 0.6))),
             steps((0.0, 60.0), (0.4, 62.5)), support=plain, allowed=("step",)),
        Case("dead bus: 0.1 pu, 47 Hz", code, 3.0, 0.01, even(steps((0.0, 1.0), (0.5, 0.1))),
             steps((0.0, 60.0), (0.5, 47.0)), support=plain, allowed=("step", "blind")),
        Case("first sample of all is outside (0.8 pu)", code, 1.0, 0.01, even(flat(0.8)), flat(60.0), support=plain,
             settle=False, allowed=("step", "first")),
        Case("1.10 pu exactly for 14 s", code, 14.5, 0.01, even(steps((0.0, 1.0), (0.5, 1.1))), flat(60.0),
             support=plain, allowed=("step", "edge")),
    ]  # fmt: skip
    return found


def _rides() -> list[Case]:
    """Ride-through sequences that must not trip."""
    found = []
    for category, shape in (
        (1, ((0.0, 1.0), (0.5, 0.75), (1.0, 1.0))),
        (1, ((0.0, 1.0), (0.5, 1.17), (0.9, 1.0))),
        (2, ((0.0, 1.0), (0.5, 0.67), (3.0, 0.85), (5.0, 1.0))),
        (2, ((0.0, 1.0), (0.5, 0.5), (0.7, 0.8), (2.0, 1.0), (4.0, 0.5), (4.2, 1.0))),
        (3, ((0.0, 1.0), (0.5, 0.0), (1.4, 0.6), (5.0, 0.85), (9.0, 1.0))),
        (3, ((0.0, 1.0), (0.5, 0.45), (1.2, 1.0), (2.0, 0.45), (2.7, 1.0), (4.0, 0.45), (4.7, 1.0))),
        (3, ((0.0, 1.0), (0.5, 1.15), (6.0, 1.0), (7.0, 1.15), (12.0, 1.0))),
        (3, ((0.0, 1.0), (0.5, 0.72), (15.0, 1.0))),
    ):
        code = ieee(category)
        words = ", ".join(f"{v:g} pu from {t:g} s" for t, v in shape[1:])
        found.append(
            Case(f"Category {'I' * category} rides through: {words}", code, shape[-1][0] + 1.0, 0.01,
                 even(steps(*shape)), flat(60.0), support=without_droop(settings_of(code, RATED_W)),
                 allowed=("step", "hold"))
        )  # fmt: skip
    code = ieee(3)
    found.append(
        Case("frequency swings 58.6..61.4 Hz for a minute, droop on", code, 85.0, 0.02, even(flat(1.0)),
             lambda t: 60.0 + (1.4 * math.sin(2 * math.pi * t / 20.0) if t <= 60.0 else 0.0),
             support=settings_of(code, RATED_W), allowed=("lag", "pickup"), slow=True)
    )  # fmt: skip
    return found


def _service() -> list[Case]:
    code = ieee(3, enter_service__delay_s=5.0, enter_service__ramp_duration_s=20.0)
    plain = without_droop(settings_of(code, RATED_W))
    at_once = ieee(3, enter_service__delay_s=0.0, enter_service__ramp_duration_s=1.0)
    return [
        Case("enters service after 5 s, ramps 20 s", code, 30.0, 0.01, even(steps((0.0, 0.5), (1.0, 1.0))), flat(60.0),
             support=plain, in_service=False, allowed=("step",)),
        Case("enters service charging", code, 30.0, 0.01, even(steps((0.0, 0.5), (1.0, 1.0))), flat(60.0), 0.6,
             support=plain, in_service=False, allowed=("step",)),
        Case("an excursion of one sample restarts the wait", code, 15.0, 0.01,
             lambda t: three(0.5 if t < 1.0 or abs(t - 4.0) < 0.004 else 1.0), flat(60.0), support=plain,
             in_service=False, allowed=("step",)),
        Case("frequency just outside of the window (60.11 Hz)", code, 8.0, 0.01, even(flat(1.0)), flat(60.11),
             support=plain, in_service=False),
        Case("voltage just outside of the window (1.055 pu)", code, 8.0, 0.01, even(flat(1.055)), flat(60.0),
             support=plain, in_service=False),
        Case("trips by OF2, the grid returns, enters again after 5 s", code, 15.0, 0.01, even(flat(1.0)),
             steps((0.0, 60.0), (0.5, 62.5), (1.0, 60.0)), support=plain, allowed=("step",)),
        Case("trips by OF2, delay 0 s", at_once, 4.0, 0.01, even(flat(1.0)),
             steps((0.0, 60.0), (0.5, 62.5), (0.8, 60.0)), support=without_droop(settings_of(at_once, RATED_W)),
             allowed=("step", "reopen")),
    ]  # fmt: skip


def _droop() -> list[Case]:
    code = ieee(3)
    droop = settings_of(code, RATED_W)
    found = []
    for p in (-0.8, -0.2, 0.0, 0.3, 0.7):
        for f in (59.2, 59.95, 60.5, 60.9):
            found.append(
                Case(f"droop: {p:+g} pu, 60 -> {f:g} Hz and back", code, 25.0, 0.02, even(flat(1.0)),
                     steps((0.0, 60.0), (1.0, f), (13.0, 60.0)), p, support=droop, allowed=("lag",))
            )  # fmt: skip
    found.append(
        Case("droop: second dip during the return", code, 16.0, 0.02, even(flat(1.0)),
             steps((0.0, 60.0), (1.0, 59.3), (8.0, 60.0), (9.0, 59.3), (12.0, 60.0)), support=droop,
             allowed=("pickup",),
             # What is left of the first change at 9 s, as far as the response has come to it by 12 s.
             predicts={"P": (0.664 / 3.0) * (1.0 - 10.0**-1.4) * 10.0**-0.2 * (1.0 - 10.0**-0.6)})
    )  # fmt: skip
    return found


def _voltage() -> list[Case]:
    code = ieee(3)
    watt = without_droop(switched_on(code, "volt_watt"))
    found = [
        Case(f"volt-watt: {v:g} pu, {p:+g} pu", code, 25.0, 0.02, even(steps((0.0, 1.0), (1.0, v), (15.0, 1.0))),
             flat(60.0), p, support=watt, allowed=("lag",))
        for v, p in ((1.07, -0.9), (1.08, -0.9), (1.09, -0.3), (1.095, -0.9), (1.08, 0.5))
    ]  # fmt: skip
    found.append(
        Case("volt-watt: one phase at 1.09 pu", code, 15.0, 0.02,
             lambda t: (1.09, 1.0, 1.0) if t > 1.0 else three(1.0), flat(60.0), -0.9, support=watt,
             allowed=("phase",),
             # The limit goes from 1 to 0.25 pu, 90 % of it in 10 s; the mean of 1.03 pu limits nothing.
             predicts={"P": 0.9 - (1.0 - 0.75 * (1.0 - 10.0 ** -1.4))})
    )  # fmt: skip
    both = switched_on(code, "volt_watt", "volt_var")
    found.append(
        Case("volt-watt, volt-var and droop together", code, 20.0, 0.02, even(steps((0.0, 1.0), (1.0, 1.075))),
             steps((0.0, 60.0), (6.0, 59.6)), -0.4, support=both, allowed=("lag",))
    )  # fmt: skip
    return found


def _reactive() -> list[Case]:
    code = ieee(3)
    on = lambda name: without_droop(switched_on(code, name))  # noqa: E731
    found = [
        Case(f"volt-var: 1.0 -> {v:g} pu, {p:+g} pu", code, 12.0, 0.02, even(steps((0.0, 1.0), (1.0, v))), flat(60.0),
             p, support=on("volt_var"), allowed=("lag",))
        for v, p in ((0.9, -0.45), (0.95, -0.45), (0.99, -0.45), (1.03, 0.3), (1.05, -0.45), (1.09, -0.45),
                     (0.93, -1.0), (1.07, 1.0))
    ]  # fmt: skip
    droop = switched_on(code, "watt_var")
    found += [
        Case(f"watt-var: {p:+g} pu, moved by droop at {f:g} Hz", code, 20.0, 0.02, even(flat(1.0)),
             steps((0.0, 60.0), (2.0, f)), p, support=droop, allowed=("lag",))
        for p, f in ((-0.3, 59.2), (-0.9, 60.6), (0.3, 60.9), (0.8, 59.4))
    ]  # fmt: skip
    found.append(
        Case("watt-var: -1 pu, P and Q do not fit together", code, 30.0, 0.02, even(flat(1.0)), flat(60.0), -1.0,
             support=on("watt_var"), allowed=("circle",))
    )  # fmt: skip
    base = without_droop(settings_of(code, RATED_W))
    for p, absorbing in ((-0.6, True), (-0.6, False), (0.6, True), (0.6, False)):
        pf = replace(base, reactive=FixedPf(0.95, absorbing, 5.0, "IEEE 1547-2018, 5.3.2"))
        found.append(
            Case(f"power factor 0.95 {'absorbing' if absorbing else 'injecting'}, {p:+g} pu", code, 4.0, 0.02,
                 even(flat(1.0)), flat(60.0), p, support=pf, allowed=("excitation",),
                 predicts={"Q": 2.0 * p * math.tan(math.acos(0.95))} if p > 0.0 else {})
        )  # fmt: skip
    for q, p in ((0.3, -0.5), (-0.3, 0.5), (0.44, -1.0)):
        fixed = replace(base, reactive=FixedVar(q, 5.0, "IEEE 1547-2018, 5.3.5"))
        found.append(
            Case(f"constant Q {q:+g} pu, {p:+g} pu", code, 4.0, 0.02, even(flat(1.0)), flat(60.0), p, support=fixed,
                 allowed=("lag",))
        )  # fmt: skip
    return found
