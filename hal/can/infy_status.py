"""Status bits of the BEG (selector 1110) and what they mean: codes of the event table."""

from __future__ import annotations

from hal.can.infy_codec import STATUS_BITS

DC_OFF, SLEEPING = STATUS_BITS["St_DcSideOff"], STATUS_BITS["St_Sleeping"]
FAULTS = {  # stop the session
    "converter_output_short": ("St_OutputShort",),
    "converter_discharge_abnormal": ("St_DischargeAbnormal",),
    "converter_fault": ("St_Fault",),
    "converter_protection": ("St_Protection",),
    "converter_over_temperature": ("St_OverTemperature",),
    "converter_output_over_voltage": ("St_OutputOverVoltage",),
    "converter_id_clash": ("St_IdRepeat",),
    "converter_input": ("St_InputPhaseLost", "St_InputLowVoltage", "St_InputOverVoltage"),
}
WARNINGS = {  # told; power goes on
    "converter_fan": ("St_FanFault",),
    "converter_comm": ("St_CommInterrupt",),
    "converter_limited": ("St_PowerLimited",),
    "converter_load_sharing": ("St_LoadSharing",),
    "converter_input_unbalanced": ("St_InputUnbalanced",),
}
# States, no events: running or not, asleep, soft start enabled, AC stage off (it is whenever the module rests).
STATES = ("St_DcSideOff", "St_Sleeping", "St_WalkInEnabled", "St_PfcSideOff")
_FAULT_MASKS = [(sum(STATUS_BITS[bit] for bit in bits), code) for code, bits in FAULTS.items()]
_WARNING_MASKS = [(sum(STATUS_BITS[bit] for bit in bits), code) for code, bits in WARNINGS.items()]


def faults_of(bits: int) -> list[str]:
    """Codes of the faults in a status word."""
    return [code for mask, code in _FAULT_MASKS if bits & mask]


def warnings_of(bits: int) -> list[str]:
    """Codes of the warnings in a status word."""
    return [code for mask, code in _WARNING_MASKS if bits & mask]
