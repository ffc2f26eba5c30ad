"""A puppet for guard: plain readings that follow its commands, and everything in them can be bent.

It is no plant and speaks no protocol (the rig does that); it exists so that hypothesis can put guard into any state
in microseconds and lie to it in any way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from firmware.grid_codes import Chain, GridCode, adjust, load
from firmware.guard.known import Commands, GuardSettings, Readings
from firmware.guard.messages import CarReport, InsulationReport, MeterReport, PowerRequest, SelfTestReport, ToGuard
from firmware.guard.step import Guard
from firmware.protection.grid import GridProtection
from hal.ports import (
    CarPhase,
    Coils,
    ConverterLimits,
    ConverterStatus,
    CpState,
    Direction,
    GridTelemetry,
    PilotStatus,
    Reading,
)

TICK_S = 0.01
CHAIN = Chain(measure_window_s=0.01, report_period_s=0.005, tick_s=TICK_S, converter_off_s=0.02, contactor_open_s=0.03)


@cache
def _profile(code: str) -> GridCode:
    return load(code, nominal_v=277.0 if code.startswith("ieee") else 230.0)


def make_guard(code: str = "ieee1547_2018_cat3", **adjustments: float) -> Guard:
    profile = _profile(code)
    if code.startswith("ieee"):
        quick = {"enter_service.delay_s": 0.0, "enter_service.ramp_duration_s": 1.0}
        profile = adjust(profile, {**quick, **adjustments})
    settings = GuardSettings(
        charge_w=22_000.0, discharge_w=22_000.0, current_a=73.3, voltage_v=1000.0,
        nominal_v=277.0 if code.startswith("ieee") else 230.0, tick_s=TICK_S,
    )  # fmt: skip
    return Guard(settings, GridProtection(profile, CHAIN))


@dataclass
class Puppet:
    """The world as guard sees it. Attributes are knobs; `tick()` is one period."""

    guard: Guard = field(default_factory=make_guard)
    now: float = 1000.0
    # services
    power_w: float = 10_000.0
    lease_s: float = 2.0
    renew: bool = True
    car_alive: bool = True
    phase: CarPhase = CarPhase.INSULATION
    i_max_a: float = 100.0
    i_min_a: float = -100.0
    insulation_ohm: float | None = 1e6
    self_test_ok: bool = True
    meter_alive: bool = True
    # pilot
    pilot_alive: bool = True
    cp: CpState = CpState.C
    estop: bool = False
    grid_alive: bool = True
    v_pu: tuple[float, float, float] = (1.0, 1.0, 1.0)
    f_pu: float = 1.0
    weld: bool = False
    # converter
    converter_alive: bool = True
    converter_ready: bool = True
    confirms: bool = True
    converter_grid_alive: bool = True
    converter_faults: tuple[str, ...] = ()
    stuck_current_a: float | None = None
    # anything else
    bend: Callable[[Readings], Readings] | None = None  # the last word on what guard is given

    def __post_init__(self) -> None:
        self.mirrors = Coils()
        self.direction: Direction | None = Direction.CHARGE
        self.v_dc = 0.0
        self.i_dc = 0.0
        self.last_lease_end = -math.inf
        self.last: Commands | None = None
        self.late = 0
        self.inbox: list[ToGuard] = []  # more messages for the next tick
        self._supply_t = math.inf

    @property
    def state(self) -> str:
        return self.guard.session.machine.state.name

    def messages(self) -> list[ToGuard]:
        """What services say in this tick; the lease is renewed every tick while `renew`."""
        out: list[ToGuard] = []
        now = self.now
        if self.renew:
            out.append(PowerRequest("test", self.power_w, now + self.lease_s))
            self.last_lease_end = max(self.last_lease_end, now + min(self.lease_s, 5.0))
        if self.car_alive:
            out.append(CarReport(now, self.phase.value, 400.0, self.i_max_a, self.i_min_a, 450.0, 300.0, 50.0, 60e3))
        if self.insulation_ohm is not None:
            out.append(InsulationReport(now, self.insulation_ohm, "none"))
        serial = self.guard.session.self_test_serial
        if serial:
            out.append(SelfTestReport(serial, self.self_test_ok, now))
        if self.meter_alive:
            out.append(MeterReport(now, self.v_dc, self.i_dc, self.v_dc * self.i_dc))
        out += self.inbox
        self.inbox = []
        return out

    def readings(self) -> Readings:
        now, guard = self.now, self.guard
        nominal = guard.settings.nominal_v
        f_hz = self.f_pu * (60.0 if nominal == 277.0 else 50.0)
        v = (self.v_pu[0] * nominal, self.v_pu[1] * nominal, self.v_pu[2] * nominal)
        telemetry = GridTelemetry(v, f_hz)
        supplied = self.mirrors.grid and now - self._supply_t > 0.1
        alive = self.converter_alive and supplied
        on = self.last is not None and self.last.outputs.converter.on
        converter = ConverterStatus(
            online=alive,
            ready=alive and self.converter_ready and not self.converter_faults,
            limits=ConverterLimits(200.0, 1000.0, 73.3, 22_000.0) if alive else None,
            direction=self.direction if alive else None,
            on=Reading(on, now) if alive else None,
            v_dc_v=Reading(self.v_dc, now) if alive else None,
            i_dc_a=Reading(self.i_dc, now) if alive else None,
            grid=Reading(telemetry, now) if alive and self.converter_grid_alive else None,
            faults=self.converter_faults if alive else (),
        )
        pilot = PilotStatus(
            online=self.pilot_alive,
            cp=Reading(self.cp, now) if self.pilot_alive else None,
            mirrors=Reading(self.mirrors, now) if self.pilot_alive else None,
            estop=self.estop and self.pilot_alive,
            grid=(Reading(telemetry, now),) if self.pilot_alive and self.grid_alive else (),
        )
        readings = Readings(converter, pilot, missed=self.late)
        return readings if self.bend is None else self.bend(readings)

    def tick(self, count: int = 1) -> Commands:
        for _ in range(count):
            self.now += TICK_S
            commands = self.guard.step(self.now, self.readings(), self.messages())
            self._follow(commands)
            self.last = commands
            self.late = 0
        assert self.last is not None
        return self.last

    def _follow(self, commands: Commands) -> None:
        coils = commands.outputs.pilot.coils
        if coils.grid and not self.mirrors.grid:
            self._supply_t = self.now
        if self.pilot_alive:
            self.mirrors = Coils(coils.grid, coils.dc or self.weld, coils.precharge, coils.converter_enable)
        out = commands.outputs.converter
        if self.confirms and abs(self.i_dc) < 1.0 and out.on:
            self.direction = out.direction
        sign = 1.0 if self.direction is Direction.CHARGE else -1.0
        battery = self.phase is CarPhase.TRANSFER and self.mirrors.dc
        if self.stuck_current_a is not None:
            self.i_dc = self.stuck_current_a
        else:
            self.i_dc = sign * out.current_a if out.on and battery else 0.0
        self.v_dc = 400.0 if battery else (out.voltage_v if out.on else self.v_dc * 0.9)

    def drive_on(self) -> None:
        """The car asks for what comes next in a session, as a cooperative car would."""
        matched = self.last is not None and self.last.outputs.converter.on and abs(self.v_dc - 400.0) < 20.0
        if self.state == "PRECHARGE" and self.phase is CarPhase.INSULATION:
            self.phase = CarPhase.PRECHARGE
        elif self.state == "PRECHARGE" and self.phase is CarPhase.PRECHARGE and matched:
            self.phase = CarPhase.TRANSFER
        elif self.state == "FINISHED":
            self.phase = CarPhase.WAIT
        elif self.state in ("IDLE", "CONNECTED"):
            self.phase = CarPhase.INSULATION

    def until(self, state: str, ticks: int = 2000) -> None:
        """Run until the charger is in `state` (name); the car asks for what comes next in a session."""
        for _ in range(ticks):
            if self.state == state:
                return
            self.drive_on()
            self.tick()
        raise AssertionError(f"{state} not reached, in {self.state}: {self.guard.faults.codes}")
