"""The fault box of the simulated bench: what can be broken, and how each of it is mended."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hal.ports import CanFrame
from hil.bench.roles import BenchError
from hil.devices.beg_module import Faults
from hil.office import Office
from hil.sim import CanWire, Sim

_INSULATION = ("fail_self_test", "device_fault", "invalid", "frozen", "supply")
_PILOT_FLAGS = ("mute", "deaf", "freeze_grid", "stop_sequence", "diode_fault", "cp_short")
_PILOT_COUNTS = ("corrupt_next", "swap_next", "garbage_next")
_OFFICE = ("clock.jump_s", "disk.full", "manager.gone")  # of the real services
_PLANT = ("weld_grid", "weld_dc", "stuck_dc", "open_precharge", "leak_ohm", "estop", "ambient_c")


class FaultyWire(CanWire):
    """The converter's bus with a controller that may be off it: nothing comes, what is sent is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.off = False

    def recv(self, now: float) -> list[CanFrame]:
        frames = super().recv(now)
        return [] if self.off else frames

    def send(self, frame: CanFrame) -> bool:
        if self.off:
            self.errors += 1
            return False
        return super().send(frame)


class SimFaults:
    """What can be broken, and how it is mended: each name knows its own way back."""

    def __init__(self, sim: Sim, wire: FaultyWire) -> None:
        self._sim, self._wire = sim, wire
        self.inserted: dict[str, Any] = {}
        self._plant_usual = {name: getattr(sim.link, name) for name in _PLANT}
        self.catalogue = (
            *(f"converter.{f.name}" for f in fields(Faults)),
            "converter.reset",
            *(f"pilot.{name}" for name in (*_PILOT_FLAGS, *_PILOT_COUNTS)),
            *("pilot.temperatures_c", "pilot.self_test_failed", "pilot.version", "pilot.reboot"),
            *(f"insulation.{name}" for name in _INSULATION),
            *(f"plant.{name}" for name in _PLANT),
            *("car.mute", "bus.off", "guard.dead", "guard.killed", "services.dead", "services.killed"),
            "secc.killed",
            *(() if sim.services.office is None else _OFFICE),
        )

    def insert(self, name: str, value: Any = True) -> None:
        if name in _OFFICE and name not in self.catalogue:
            raise BenchError(f"fault box: {name} needs the charger's real services ([unit] services = true)")
        if name not in self.catalogue:
            raise BenchError(f"fault box: there is no fault {name!r}; there are {', '.join(self.catalogue)}")
        device, _, what = name.partition(".")
        sim = self._sim
        try:
            match device:
                case "converter":
                    sim.converter.handle({what: value})
                case "pilot":
                    sim.pilot.handle({what: value})
                case "insulation":
                    sim.imd.handle({what: value})
                case "car":
                    sim.car.handle({what: value})
                case "plant":
                    self._plant(what, value)
                case _ if what == "killed":
                    self._kill(device, value)
                case "clock":
                    self._jump(value)
                case _:
                    if not isinstance(value, bool):
                        raise ValueError(f"{name} must be true or false, not {value!r}")
                    self._process(name, value)
        except ValueError as error:
            raise BenchError(f"fault box: {error}") from None
        if value is False and name != "insulation.supply":
            self.inserted.pop(name, None)
        else:
            self.inserted[name] = value

    def _plant(self, what: str, value: Any) -> None:
        if isinstance(value, bool) and what not in ("leak_ohm", "ambient_c"):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -50.0 <= value <= 1e7:
            raise ValueError(f"{what} must be a number (or true, false for a switch), not {value!r}")
        setattr(self._sim.link, what, float(value))

    def _kill(self, process: str, for_s: Any) -> None:
        """The process is gone for so many seconds; then there is a new one that knows nothing."""
        if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0.0 < for_s <= 600.0:
            raise ValueError(f"{process}.killed must be above 0 to 600 s, not {for_s!r}")
        services = self._sim.services
        {"guard": self._sim.kill_guard, "services": services.kill, "secc": services.kill_secc}[process](for_s)

    @property
    def _office(self) -> Office:
        assert self._sim.services.office is not None  # its faults are in no other catalogue
        return self._sim.services.office

    def _jump(self, by_s: Any) -> None:
        """The wall clock is set; the clock that runs by itself goes on."""
        if isinstance(by_s, bool) or not isinstance(by_s, int | float) or not 0.0 < abs(by_s) <= 1e9:
            raise ValueError(f"clock.jump_s must be a number of seconds up to 1e9 that is not 0, not {by_s!r}")
        self._office.jump(by_s)

    def _process(self, name: str, value: bool) -> None:
        sim = self._sim
        if name == "bus.off":
            self._wire.off = value
        elif name == "guard.dead":
            if value:
                sim.guard_alive = False
            else:
                sim.revive_guard()
        elif name == "disk.full":
            self._office.disk_full = value
        elif name == "manager.gone":
            self._office.manager_gone = value
        else:
            if value:
                sim.services.alive = False
            else:
                sim.services.revive()

    def clear(self) -> None:
        sim = self._sim
        sim.converter.handle({"clear": True})
        sim.pilot.handle(
            {
                **dict.fromkeys(_PILOT_FLAGS, False),
                **dict.fromkeys(_PILOT_COUNTS, 0),
                "temperatures_c": [None] * 4,
                "self_test_failed": [],
            }
        )
        sim.imd.handle({name: name == "supply" for name in _INSULATION})
        sim.car.handle({"mute": False})
        for name, value in self._plant_usual.items():
            setattr(sim.link, name, value)
        for name in ("bus.off", "guard.dead", "services.dead"):
            self._process(name, False)
        sim.services.revive_secc()
        if sim.services.office is not None:
            sim.services.office.disk_full = sim.services.office.manager_gone = False
        self.inserted.clear()
