"""The seam between physics and emulated devices: one flat array of doubles with named fields.

In a lockstep rig the array is private memory; in the real-time rig it is shared memory between the processes of the
rig. Each field has exactly one writer, and an aligned 8-byte store is not torn on the machines a rig runs on, so no
lock is needed. A field that somebody else writes is read as it is now: like a wire.

Signs as everywhere: + charges the car. Switch fields are 0.0 or 1.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, MutableSequence

# Written by the emulated converter.
CONVERTER = (
    "conv_on",  # power stage running
    "conv_dir",  # +1 rectifier (charge), -1 grid-tied inverter (discharge)
    "conv_i_a",  # magnitude of the DC current set-point after the module's own ramp
    "conv_v_v",  # DC voltage limit while charging
    "conv_cutoff_v",  # DC voltage below which the discharge stops
    "conv_tan_phi",  # reactive power asked for, share of |active power|, + = absorbed (inductive)
)
# Written by the emulated pilot and contactor MCU: coil commands after its own safety logic, and the control pilot's
# duty as the car sees it: 100 = constant +12 V, 0 = constant -12 V (state F, or no supply), 5 = talk by PLC.
PILOT = ("coil_grid", "coil_dc", "coil_precharge", "converter_enable", "cp_duty_pct")
# Written by the emulated car.
CAR = ("ev_plugged", "ev_contactor", "ev_cp_state")  # ev_cp_state: 1 A, 2 B, 3 C (what the car's resistor shows)
# Written by the rig's operator (faults, island switch). weld_*: a closed contactor never opens again. stuck_*: it never
# closes; open_precharge: nor does the precharge path. leak_ohm: insulation leak to PE, 0 = none.
OPERATOR = (
    "grid_switch_open", "weld_grid", "weld_dc", "stuck_dc", "open_precharge", "leak_ohm", "estop", "ambient_c",
)  # fmt: skip
# Written by the plant.
PLANT = (
    "t_s",  # plant time
    "pcc_va_v",
    "pcc_vb_v",
    "pcc_vc_v",  # half-cycle RMS, phase to neutral, grid side of the grid contactor
    "pcc_f_hz",  # two-cycle frequency at the same place
    "ac_va_v",
    "ac_vb_v",
    "ac_vc_v",  # the same at the converter's terminals (0 with the grid contactor open)
    "ac_f_hz",
    "ac_ia_a",
    "ac_ib_a",
    "ac_ic_a",
    "ac_p_w",  # + drawn from the grid
    "ac_q_var",
    "dc_v_v",  # converter's DC terminals
    "dc_i_a",  # converter's DC current, + towards the car
    "cable_v_v",  # behind the DC contactor
    "cable_i_a",  # through the DC contactor, + towards the car
    "batt_v_v",
    "batt_i_a",
    "soc",
    "k_grid",
    "k_dc",
    "k_precharge",
    "k_ev",  # where the contactors really are
    "insulation_ohm",
    "module_temp_c",
)
FIELDS = CONVERTER + PILOT + CAR + OPERATOR + PLANT
INDEX = {name: i for i, name in enumerate(FIELDS)}
SIZE_BYTES = 8 * len(FIELDS)


class PlantLink:
    """Attribute access to the array: `link.coil_dc = 1.0`, `link.cable_v_v`. Unknown names raise AttributeError."""

    __slots__ = ("_a",)
    _a: MutableSequence[float]

    def __init__(self, buffer: memoryview | None = None) -> None:
        """buffer: a writable byte buffer of SIZE_BYTES (shared memory); None makes a private array of zeros."""
        a = array("d", [0.0]) * len(FIELDS) if buffer is None else buffer[:SIZE_BYTES].cast("d")
        object.__setattr__(self, "_a", a)

    def __reduce__(self) -> tuple[Callable[[bytes], PlantLink], tuple[bytes]]:
        """A copy has an array of its own, also of a link in shared memory."""
        return _link_of, (array("d", self._a).tobytes(),)

    def __getattr__(self, name: str) -> float:
        try:
            return self._a[INDEX[name]]
        except KeyError:
            raise AttributeError(f"the plant has no field {name!r}") from None

    def __setattr__(self, name: str, value: float) -> None:
        try:
            self._a[INDEX[name]] = value
        except KeyError:
            raise AttributeError(f"the plant has no field {name!r}") from None

    @property
    def values(self) -> MutableSequence[float]:
        """The array itself, in the order of FIELDS: for a loop that cannot afford a look-up per field."""
        return self._a

    def as_dict(self) -> dict[str, float]:
        return {name: self._a[i] for i, name in enumerate(FIELDS)}

    def release(self) -> None:
        """Give the shared memory back (needed before it can be closed)."""
        if isinstance(self._a, memoryview):
            self._a.release()


def _link_of(values: bytes) -> PlantLink:
    link = PlantLink()
    link.values[:] = array("d", values)
    return link
