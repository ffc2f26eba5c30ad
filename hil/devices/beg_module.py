"""What is inside an emulated BEG1K075G: registers, protection and power stage, without the wire.

Where the real module's behaviour is unverified ([?] in the comments) the less convenient one is emulated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from hal.can import infy_codec as codec
from hil.devices.noise import two
from hil.plant.link import INDEX, PlantLink
from hil.plant.watch import FREE

RATED_V = (200.0, 1000.0)  # hardware ratings as one public driver has them; a driver must read, not know them
RATED_A = 73.3
RATED_W = 22_000.0
START_S = (0.12, 0.2)  # [?] from on to a running DC side; an on during it is answered "start in progress"
SILENCE_OFF_S = 10.0  # known for protocol V1.13, [?] for V1.04
RAMP_A_PER_S = 200.0  # [?]
SAMPLE_S = 0.010  # [?] its own measuring period
LEAST_POWER_FACTOR = 0.8  # [?] a lower one is refused; + = absorbs reactive power in both modes [?]
TAN_PHI_PER_S = 2.0  # [?] how fast it goes there, after its next own sample
MODE_CHANGE_A = 2.0  # [?] above it a mode write is refused while the DC side runs
SUPPLY_V = 60.0  # [?] phase voltage below which the auxiliary supply dies
TOO_HOT_C = 95.0  # [?]
# Its own AC protection, writable under 2120..212F: threshold (line-to-line V, Hz) and delay (s). Frequencies and delays
# are what one public test tool writes; the voltages lie just outside what IEEE 1547-2018 category III must ride through
# (0.5 pu for 10 s, 1.2 pu for 1 s, of 400 V), as a module set up for that grid code would have them. All of it [?].
AC_PROTECTION = (
    ("Ov1", 530.0, 5.0), ("Ov2", 560.0, 5.0), ("Uv1", 190.0, 5.0), ("Uv2", 100.0, 3.0),
    ("Of1", 53.0, 5.0), ("Of2", 54.0, 5.0), ("Uf1", 47.0, 5.0), ("Uf2", 46.0, 5.0),
)  # fmt: skip
# Reads that are answered with what the link shows at that moment, not with a measured value; as they begin a payload.
LIVE = frozenset(codec.selector_of(f"Rd_AcPhaseCurrent{phase}").to_bytes(2, "big") for phase in "ABC")
_BIT = codec.STATUS_BITS
_SLACK = 1e-9  # of a threshold: a range ends this much before it, so that rounding does not decide
_WRITE = {entry.name: selector for selector, entry in codec.WRITE_FIELDS.items()}
_SQRT3 = math.sqrt(3.0)
_VA, _VB, _VC, _F, _DC_V, _TEMPERATURE, _ENABLE, _ON, _DIR, _I, _V, _CUTOFF, _TAN_PHI = (
    INDEX[name]
    for name in (
        "ac_va_v", "ac_vb_v", "ac_vc_v", "ac_f_hz", "dc_v_v", "module_temp_c", "converter_enable", "conv_on",
        "conv_dir", "conv_i_a", "conv_v_v", "conv_cutoff_v", "conv_tan_phi",
    )
)  # fmt: skip
_MEASURED = tuple(INDEX[field] for field in ("dc_v_v", "dc_i_a", "ac_va_v", "ac_vb_v", "ac_vc_v", "ac_p_w", "ac_q_var"))

# What a name of the data base reads: a measured value, what the link shows at that moment, what is written on the
# plate, or a voltage between two phases.
_DIRECT = {
    "Rd_AcFrequency": "f",
    "Rd_AcTotalActivePower": "p",
    "Rd_AcTotalReactivePower": "q",
    **{f"Rd_{where}Voltage": "v" for where in ("System", "Module", "HvSide")},
    **{f"Rd_{where}Current": "i" for where in ("System", "Module", "HvSide")},
    **{f"Rd_AcPhaseVoltage{phase}": f"v{phase.lower()}" for phase in "ABC"},
}
_SHOWN = {
    "Rd_AmbientTemp": INDEX["ambient_c"],
    **{f"Rd_AcPhaseCurrent{phase}": INDEX[f"ac_i{phase.lower()}_a"] for phase in "ABC"},
}
_RATED = {
    "Rd_ModuleCount": 1.0,
    "Rd_CapMinVoltage": RATED_V[0],
    "Rd_CapMaxVoltage": RATED_V[1],
    "Rd_CapMaxCurrent": RATED_A,
    "Rd_CapRatedPower": RATED_W,
}
_LINES = {"Rd_AcVoltageAB": ("va", "vb"), "Rd_AcVoltageBC": ("vb", "vc"), "Rd_AcVoltageCA": ("vc", "va")}
_THIRDS = {"Rd_AcActivePower": "p", "Rd_AcReactivePower": "q", "Rd_AcApparentPower": ""}  # of each phase


@dataclass
class Faults:
    """Faults on request. Field names are the keys that `EmulatedBeg.handle` takes; defaults are "no fault"."""

    mute: bool = False  # hears, obeys and says nothing
    deaf: bool = False  # hears nothing
    drop_echoes: int = 0  # so many of the next write echoes are lost
    drop_share: float = 0.0  # share of frames lost, both ways
    delay_s: float = 0.0  # added to every answer
    freeze: bool = False  # measured values stand still
    corrupt_share: float = 0.0  # share of answers with a wrong length, selector, address or value
    error_code: int = 0  # error field of every answer
    id_clash: bool = False  # a second module answers under the same address
    status_bits: int = 0  # bits forced on in the status
    ignore_mode: str = ""  # "echo": echoes a mode write and does not change; "silent": changes without echo
    refuse_power_factor: bool = False  # answers every power factor with "data invalid"
    ignore_off: bool = False  # echoes off and goes on; the enable line still works
    reverse: bool = False  # power stage runs against its mode
    current_gain: float = 1.0  # power stage carries this multiple of the set-point
    babble_hz: float = 0.0  # sends so many unasked frames a second


@dataclass
class _State:
    """What a restart loses."""

    running: bool = False
    start_t: float = math.inf  # end of the start-up; inf = not starting
    inverter: bool = False
    voltage_v: float = 0.0
    current_a: float = 0.0
    ovp_v: float = 0.0
    cutoff_v: float = 0.0
    ramp_a: float = 0.0
    tan_phi: float = 0.0  # as written; survives an off [?]
    tan_phi_goal: float = 0.0  # taken over at its own sample
    tan_phi_now: float = 0.0
    walk_in: bool = False
    latched: int = 0  # status bits that stay until off is written
    protection: dict[str, list[float]] = field(
        default_factory=lambda: {name: [threshold, delay] for name, threshold, delay in AC_PROTECTION}
    )
    window: tuple[float, float, float, float] | None = None  # lowest, highest line voltage and frequency inside all
    outside: dict[str, float] = field(default_factory=dict)  # AC quantity outside its window since
    mains_hz: float = 0.0  # 50 or 60, settled at the first measurement after a restart; 0 = not yet


class BegModule:
    """Registers, protection and power stage. Reads the plant's link and writes its conv_* fields."""

    def __init__(self, link: PlantLink, rng: random.Random) -> None:
        self.faults = Faults()
        self.heard_t = 0.0  # last request that was understood
        self._link = link
        self._rng = rng
        self._state = _State()
        self._sample_t = self._sample_due = -math.inf
        self._measured = dict.fromkeys(("v", "i", "va", "vb", "vc", "f", "p", "q"), 0.0)

    def restart(self, heard_t: float) -> None:
        """Everything is forgotten; the power stage is off. `heard_t`: when its silence starts to count."""
        self._state = _State()
        self.heard_t = heard_t
        self._off_stage()

    def _off_stage(self) -> None:
        link = self._link
        link.conv_on = link.conv_i_a = link.conv_v_v = link.conv_cutoff_v = link.conv_tan_phi = 0.0
        link.conv_dir = 1.0

    def read(self, selector: int) -> float | None:
        """The value of a selector inside the range of the data base; None when there is no such selector."""
        entry = codec.READ_FIELDS.get(selector)
        if entry is None:
            return None
        value = self._value(entry.name)
        return min(max(value, entry.minimum), entry.maximum) if math.isfinite(value) else 0.0

    # --------------------------------------------------------------------------------------------------------- writes
    def write(self, t: float, name: str, value: float) -> int:
        """Do what was written; the error code of the echo."""
        s = self._state
        low_v, high_v = RATED_V
        if name == "Wr_OnOff":
            return self._switch(t, int(value))
        if name == "Wr_WorkingMode":
            return self._change_mode(int(value))
        if name == "Wr_SystemVoltage":
            if not low_v <= value <= high_v:
                return codec.ERROR_DATA
            s.voltage_v = value
        elif name in ("Wr_ModuleCurrent", "Wr_SystemCurrent"):
            if value > RATED_A:
                return codec.ERROR_DATA
            s.current_a = value
        elif name == "Wr_OverVoltagePoint":
            if value < low_v:
                return codec.ERROR_DATA
            s.ovp_v = value
        elif name == "Wr_DischargeCutoffVoltage":
            if not low_v <= value <= high_v:
                return codec.ERROR_DATA
            s.cutoff_v = value
        elif name == "Wr_PowerFactor":
            if not LEAST_POWER_FACTOR <= abs(value) <= 1.0 or self.faults.refuse_power_factor:
                return codec.ERROR_DATA
            s.tan_phi = math.copysign(math.sqrt(1.0 / value**2 - 1.0), value)
        elif name == "Wr_WalkIn":
            s.walk_in = value == 0xA1
        elif name.startswith("Wr_Ac"):
            key, _, what = name.removeprefix("Wr_Ac").partition("T" if name.endswith("Threshold") else "D")
            s.protection[key][0 if what == "hreshold" else 1] = value
            s.window = None
        elif name not in ("Wr_GroupNumber", "Wr_OutputMode"):  # taken, without effect here
            return codec.ERROR_COMMAND
        return 0

    def _switch(self, t: float, value: int) -> int:
        s = self._state
        if value == codec.OFF:
            s.latched = 0
            if not self.faults.ignore_off:
                s.running, s.start_t = False, math.inf
            return 0
        if value != codec.ON:
            return codec.ERROR_DATA
        if s.running:
            return 0
        if s.start_t < math.inf:
            return codec.ERROR_STARTING
        incomplete = s.ovp_v == 0.0 or (s.cutoff_v if s.inverter else s.voltage_v) == 0.0
        if incomplete or s.latched or self._link.converter_enable < 0.5:
            return codec.ERROR_COMMAND  # [?] a module might start on its defaults; nobody should find out
        s.start_t = t + self._rng.uniform(*START_S)
        return 0

    def _change_mode(self, value: int) -> int:
        if value not in (codec.MODE_RECTIFIER, codec.MODE_INVERTER):
            return codec.ERROR_DATA  # off-grid mode exists, but this plant has no islanded load for it
        if self._state.running and abs(self._link.dc_i_a) > MODE_CHANGE_A:
            return codec.ERROR_COMMAND
        if self.faults.ignore_mode != "echo":
            self._state.inverter = value == codec.MODE_INVERTER
        return 0

    # ---------------------------------------------------------------------------------------------------- power stage
    def watch(self, now: float) -> None:
        """Its own measurement, time-outs and protection."""
        s, x = self._state, self._link.values
        if now - self._sample_t >= SAMPLE_S and not self.faults.freeze:
            self._sample_t, self._sample_due = now, _first_after(now, SAMPLE_S)
            self._measure()
            s.tan_phi_goal = s.tan_phi
        if now >= s.start_t:
            s.running, s.start_t, s.ramp_a = True, math.inf, 0.0
        if now - self.heard_t > SILENCE_OFF_S and (s.running or s.start_t < math.inf):
            self._trip(_BIT["St_CommInterrupt"])
        if x[_ENABLE] < 0.5:
            s.running, s.start_t = False, math.inf
        if s.running and s.ovp_v > 0.0 and x[_DC_V] > s.ovp_v:
            self._trip(_BIT["St_OutputOverVoltage"])
        if x[_TEMPERATURE] > TOO_HOT_C:
            self._trip(_BIT["St_OverTemperature"])
        if not self._ac_inside():
            self._watch_ac(now)

    def rest(self) -> tuple[float, tuple[float, float], tuple[float, ...]]:
        """After a step: until when `watch` and `power_stage` will find nothing to do but to go on with the ramps (-inf:
        they have something to do in every step), while each phase (V), and then mains frequency, DC voltage,
        temperature and enable line stay in these ranges."""
        s, faults = self._state, self.faults
        window = self._window()
        due = math.inf if faults.freeze else self._sample_due
        dc_high_v = math.inf
        if s.running:
            due = min(due, self.heard_t + SILENCE_OFF_S)
            amps = min(s.current_a, RATED_A)
            if amps > 0.0:
                dc_high_v = RATED_W / amps
            if s.ovp_v > 0.0:
                dc_high_v = min(dc_high_v, s.ovp_v)
        elif s.start_t < math.inf:
            due = min(due, s.start_t, self.heard_t + SILENCE_OFF_S)
        if s.outside or not s.mains_hz or faults.babble_hz > 0.0:
            due = -math.inf
        v_low, v_high, f_low, f_high = window
        dc_v = dc_high_v * (1.0 - _SLACK)
        enable = (0.5, math.inf) if self._link.values[_ENABLE] >= 0.5 else (-math.inf, math.nextafter(0.5, 0.0))
        phase_v = v_low / _SQRT3 * (1.0 + _SLACK), v_high / _SQRT3 * (1.0 - _SLACK)
        return due, phase_v, (f_low, f_high, -dc_v, dc_v, FREE[0], TOO_HOT_C, *enable)

    def _ac_inside(self) -> bool:
        """True when every AC quantity is inside its window, and none was outside at the last step."""
        s, x = self._state, self._link.values
        if s.outside or not s.mains_hz:
            return False
        v_low, v_high, f_low, f_high = self._window()
        va, vb, vc = x[_VA], x[_VB], x[_VC]
        return (
            v_low <= _SQRT3 * va <= v_high
            and v_low <= _SQRT3 * vb <= v_high
            and v_low <= _SQRT3 * vc <= v_high
            and f_low <= x[_F] <= f_high
        )

    def _window(self) -> tuple[float, float, float, float]:
        """Lowest and highest line voltage (V) and frequency (Hz) inside all thresholds."""
        s = self._state
        if s.window is None:
            limit = {name: threshold for name, (threshold, _) in s.protection.items()}
            s.window = (
                max(limit["Uv1"], limit["Uv2"]), min(limit["Ov1"], limit["Ov2"]),
                max(limit["Uf1"], limit["Uf2"]), min(limit["Of1"], limit["Of2"]),
            )  # fmt: skip
        return s.window

    def _trip(self, bit: int) -> None:
        s = self._state
        s.running, s.start_t = False, math.inf
        s.latched |= bit

    def _watch_ac(self, now: float) -> None:
        s, link = self._state, self._link
        lines = [_SQRT3 * v for v in (link.ac_va_v, link.ac_vb_v, link.ac_vc_v)]
        f_hz = link.ac_f_hz
        if not s.mains_hz and f_hz > 40.0:
            # A module for both mains must settle which one it is on; how the real one does it is [?].
            s.mains_hz = 60.0 if f_hz > 55.0 else 50.0
            s.window = None
            for name in ("Of1", "Of2", "Uf1", "Uf2"):
                s.protection[name][0] += s.mains_hz - 50.0
        for name, (threshold, delay_s) in s.protection.items():
            value = {"Ov": max(lines), "Uv": min(lines)}.get(name[:2], f_hz)
            outside = value > threshold if name[0] == "O" else value < threshold
            if not outside:
                s.outside.pop(name, None)
            elif now - s.outside.setdefault(name, now) >= delay_s:
                bits = {"Ov": _BIT["St_InputOverVoltage"], "Uv": _BIT["St_InputLowVoltage"]}
                self._trip(bits.get(name[:2], _BIT["St_Protection"]))

    def power_stage(self, dt: float) -> None:
        """Move the current by `dt` seconds of its own ramp; off at once without the enable line."""
        s, x = self._state, self._link.values
        if not s.running or x[_ENABLE] < 0.5:
            if s.running or x[_ON] != 0.0:  # else it is off already
                s.running, s.ramp_a, s.tan_phi_now = False, 0.0, 0.0
                self._off_stage()
            return
        target = min(s.current_a, RATED_A, self._power_limit_a())
        s.ramp_a, s.tan_phi_now = self._ramped(s.ramp_a, target, s.tan_phi_now, dt)
        x[_TAN_PHI] = s.tan_phi_now
        x[_DIR] = -1.0 if s.inverter is not self.faults.reverse else 1.0
        x[_I] = s.ramp_a * self.faults.current_gain
        x[_V] = s.voltage_v
        x[_CUTOFF] = s.cutoff_v
        x[_ON] = 1.0

    def _ramped(self, amps: float, target_a: float, tan_phi: float, dt: float) -> tuple[float, float]:
        """Where the ramps are after `dt` seconds."""
        goal = self._state.tan_phi_goal
        if amps != target_a:
            step = RAMP_A_PER_S * dt
            amps = min(max(target_a, amps - step), amps + step)
        if tan_phi != goal:
            slew = TAN_PHI_PER_S * dt
            tan_phi = min(max(goal, tan_phi - slew), tan_phi + slew)
        return amps, tan_phi

    @property
    def ramps(self) -> bool:
        """The power stage runs and is not yet where it was told to go."""
        s = self._state
        return s.running and (s.tan_phi_now != s.tan_phi_goal or s.ramp_a != min(s.current_a, RATED_A))

    def ahead(self, since: float, times: Sequence[float]) -> list[tuple[float, float, float]]:
        """Where the ramps will be in steps at these times, the one before them at `since`, as long as the ranges hold:
        time, current (A) and tan phi as the plant will be given them."""
        s, found = self._state, []
        amps, tan_phi, target_a = s.ramp_a, s.tan_phi_now, min(s.current_a, RATED_A)
        for now in times:
            amps, tan_phi = self._ramped(amps, target_a, tan_phi, now - since)
            found.append((now, amps * self.faults.current_gain, tan_phi))
            since = now
        return found

    def follow(self, since: float, times: Sequence[float]) -> None:
        """Make up for steps at these times, in which the ramps went on."""
        s, x, target_a = self._state, self._link.values, min(self._state.current_a, RATED_A)
        for now in times:
            s.ramp_a, s.tan_phi_now = self._ramped(s.ramp_a, target_a, s.tan_phi_now, now - since)
            since = now
        x[_I], x[_TAN_PHI] = s.ramp_a * self.faults.current_gain, s.tan_phi_now

    def _power_limit_a(self) -> float:
        return RATED_W / max(abs(self._link.values[_DC_V]), 1.0)

    def _measure(self) -> None:
        """One sample of everything, with the noise of its class (about 0.05 %)."""
        x, rng, m = self._link.values, self._rng, self._measured
        v, i, va, vb, vc, p, q = [x[place] if math.isfinite(x[place]) else 0.0 for place in _MEASURED]
        n1, n2 = two(rng)
        n3, n4 = two(rng)
        n5, n6 = two(rng)
        f_hz = x[_F]
        if 1.0 < f_hz < math.inf:
            n7, n8 = two(rng)
            m["f"] = f_hz + n8 * 0.002
        else:
            n7, m["f"] = rng.gauss(0.0, 1.0), 0.0
        i = abs(i)
        m["v"], m["i"] = v + n1 * 0.0005 * abs(v), i + n2 * 0.0005 * i
        m["va"], m["vb"], m["vc"] = va + n3 * 0.0005 * abs(va), vb + n4 * 0.0005 * abs(vb), vc + n5 * 0.0005 * abs(vc)
        m["p"], m["q"] = p + n6 * 0.0005 * abs(p), q + n7 * 0.0005 * abs(q)

    # ---------------------------------------------------------------------------------------------------------- reads
    def _status(self) -> float:
        s = self._state
        bits = s.latched | self.faults.status_bits
        if not s.running:
            bits |= _BIT["St_DcSideOff"]
        elif s.current_a > self._power_limit_a() + 0.1:
            bits |= _BIT["St_PowerLimited"]
        if s.walk_in:
            bits |= _BIT["St_WalkInEnabled"]
        if max(self._measured[k] for k in ("va", "vb", "vc")) < SUPPLY_V:
            bits |= _BIT["St_PfcSideOff"]
        return float(bits)

    def _value(self, name: str) -> float:
        """What is answered to a read of `name`, before the range of the data base."""
        m = self._measured
        if name in _DIRECT:
            return m[_DIRECT[name]]
        if name in _SHOWN:
            return self._link.values[_SHOWN[name]]
        if name in _RATED:
            return _RATED[name]
        if name in _LINES:
            first, second = _LINES[name]
            a, b = m[first], m[second]
            return math.sqrt(a**2 + b**2 + a * b)  # exact for symmetrical angles of 120 degrees
        if name == "Status":
            return self._status()
        if name == "Rd_InverterMode":
            return float(self._state.inverter)
        if name == "Rd_AcTotalApparentPower":
            return math.hypot(m["p"], m["q"])
        kind, phase = name[:-1], name[-1]
        if phase in "ABC" and kind in _THIRDS:
            return (math.hypot(m["p"], m["q"]) if kind == "Rd_AcApparentPower" else m[_THIRDS[kind]]) / 3.0
        raise KeyError(name)  # the data base knows more than this module does


def _first_after(start: float, span: float) -> float:
    """The first number that is at least `span` after `start` as the machine subtracts."""
    end = start + span
    while end - start >= span:
        end = math.nextafter(end, -math.inf)
    while end - start < span:
        end = math.nextafter(end, math.inf)
    return end
