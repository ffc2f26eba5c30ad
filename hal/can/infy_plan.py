"""What is asked of a BEG module how often, and what share of the bus that takes. Computed, bounded, never guessed."""

from __future__ import annotations

from dataclasses import dataclass

from hal.can.infy_codec import selector_of

MAX_BUS_LOAD = 0.60  # above it a retransmission or a second device makes frames wait for each other


def worst_frame_bits(dlc: int = 8) -> int:
    """Bits of an extended data frame with worst-case stuffing and the 3 bits of interframe space.

    ISO 11898-1: 67 bits of frame and space plus data; stuffing covers the 54 bits before the data, the data itself
    and the CRC's first bits, and adds at most one bit in four after the first.
    """
    return 67 + 8 * dlc + (54 + 8 * dlc - 1) // 4


@dataclass(frozen=True, slots=True)
class PollGroup:
    """Selectors that are read together, `rate_hz` times a second."""

    name: str
    selectors: tuple[int, ...]
    rate_hz: float


@dataclass(frozen=True, slots=True)
class PollPlan:
    """All reads, and how many set-point writes a second may go out beside them (each is echoed).

    Raises ValueError with a sentence when reads, replies, writes and echoes would take more than MAX_BUS_LOAD of
    `bitrate` (bit/s) with every frame stuffed as badly as can be.
    """

    groups: tuple[PollGroup, ...]
    write_rate_hz: float
    bitrate: int = 125_000

    def __post_init__(self) -> None:
        for group in self.groups:
            if not 0.0 < group.rate_hz <= 100.0:
                raise ValueError(f"poll group {group.name}: rate_hz {group.rate_hz} must be above 0 and at most 100.")
        if self.bus_load > MAX_BUS_LOAD:
            raise ValueError(
                f"the poll plan would take {self.bus_load:.0%} of {self.bitrate} bit/s, at most {MAX_BUS_LOAD:.0%} is "
                f"allowed: ask for less than {self.reads_hz:.0f} reads and {self.write_rate_hz:.0f} writes a second."
            )

    @property
    def reads_hz(self) -> float:
        return sum(len(group.selectors) * group.rate_hz for group in self.groups)

    @property
    def bus_load(self) -> float:
        """Share of the bus, 0..1: every request and write has its answer."""
        return 2.0 * (self.reads_hz + self.write_rate_hz) * worst_frame_bits() / self.bitrate


GRID = tuple(selector_of(f"Rd_Ac{name}") for name in ("PhaseVoltageA", "PhaseVoltageB", "PhaseVoltageC", "Frequency"))
DC_V, DC_I = selector_of("Rd_ModuleVoltage"), selector_of("Rd_ModuleCurrent")
STATUS = 0x1110  # its name in the data base is 19 bits' names
MODE = selector_of("Rd_InverterMode")
AC_POWER = selector_of("Rd_AcTotalActivePower")
AC_REACTIVE = selector_of("Rd_AcTotalReactivePower")
TEMPERATURE = selector_of("Rd_AmbientTemp")


def default_plan(bitrate: int = 125_000) -> PollPlan:
    """The plan for one module. The grid is read as fast as the DC side: it is the second independent measurement."""
    return PollPlan(
        (
            PollGroup("grid", GRID, 20.0),
            PollGroup("dc", (STATUS, DC_I, DC_V), 20.0),
            PollGroup("power", (AC_POWER,), 10.0),
            PollGroup("reactive", (AC_REACTIVE,), 2.0),
            PollGroup("mode", (MODE,), 5.0),
            PollGroup("temperature", (TEMPERATURE,), 1.0),
        ),
        write_rate_hz=50.0,
        bitrate=bitrate,
    )
