"""Signs and units between OCPP and this charger: one table, frozen by tests/ocpp/test_signs.py.

Inside: + = charging and - = discharging for active power and current; + = absorbing (under-excited, inductive) for
reactive power; per unit of rated or nominal values. What OCPP and public software disagree about is decided here once,
with the reason. Nothing else in this package turns a sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sign:
    """ours = factor x OCPP's number. `positive`: what OCPP's positive number means. `source`: why we believe it."""

    factor: float
    positive: str
    source: str


_SCHEMA = "description in the OCPP 2.1 schema"
SIGNS: Mapping[str, Sign] = {
    "setpoint": Sign(1.0, "charging", _SCHEMA),
    "limit": Sign(1.0, "charging", _SCHEMA),
    "dischargeLimit": Sign(1.0, "never: it is zero or negative, discharging", f"{_SCHEMA}, maximum 0"),
    "v2xBaseline": Sign(1.0, "charging", f"{_SCHEMA}: curves are added on top of it"),
    "v2xFreqWattCurve.power": Sign(1.0, "charging", _SCHEMA),
    "v2xSignalWattCurve.power": Sign(1.0, "charging", _SCHEMA),
    "setpointReactive": Sign(1.0, "inductive, absorbing", _SCHEMA),
    "maxDischargePower": Sign(-1.0, "discharging: powers of V2XChargingParameters are magnitudes", _SCHEMA),
    "maxChargePower": Sign(1.0, "charging", _SCHEMA),
    "evEnergyOffer.power": Sign(1.0, "charging", _SCHEMA),
    # As v2xFreqWattCurve. A curve with the other sign falls with the frequency and is refused (freq_watt.py).
    "FreqWatt.y": Sign(0.01, "charging, in percent", "public descriptions of FreqWatt; not in the schema"),
    # Reactive curves have no sign in the schema. IEEE 2030.5, whose wording these fields have, counts injected
    # (over-excited) reactive power positive, as does IEEE 1547-2018 for a generator.
    "VoltVar.y": Sign(-0.01, "injecting, over-excited, in percent", "IEEE 2030.5 by memory; not in the schema"),
    "WattVar.y": Sign(-0.01, "injecting, over-excited, in percent", "IEEE 2030.5 by memory; not in the schema"),
    # Of WattVar the schema gives no sign of x either. As for a generator of IEEE 2030.5 and as fixedVar has it, power
    # that is discharged counts positive.
    "WattVar.x": Sign(-0.01, "discharging, in percent", "IEEE 2030.5 by memory; not in the schema"),
    "VoltWatt.y": Sign(0.01, "discharging: a magnitude in percent", "IEEE 1547-2018 volt-watt; not in the schema"),
    # OCPP: negative means charging, that is absorbing; ISO 15118-20 Annex M has it the other way round.
    "fixedVar.setpoint": Sign(-0.01, "discharging, injecting, in percent", f"{_SCHEMA}; Annex M is the reverse"),
    "WattPF.x": Sign(-0.01, "discharging, in percent", "as WattVar.x; IEEE 2030.5 by memory; not in the schema"),
    # EVerest maps y >= 0 to over-excited, against the text; ours follows the text.
    "WattPF.y": Sign(1.0, "under-excited, absorbing", f"{_SCHEMA} (DERCurvePointsType.y); EVerest inverts it"),
    "limitMaxDischarge.pctMaxDischargePower": Sign(0.01, "discharging: a magnitude in percent", _SCHEMA),
}
# fixedPF.excitation: true means under-excited, absorbing (schema). EVerest's grid_support.yaml says over-excited and
# copies the flag unchanged, so a back end that was tried against EVerest only may mean the reverse.
EXCITATION_ABSORBS = True


def ours(field: str, value: float) -> float:
    """A number of OCPP in our sign and unit. `field` must be one of SIGNS."""
    return SIGNS[field].factor * value


def theirs(field: str, value: float) -> float:
    """Our number as OCPP has it."""
    return value / SIGNS[field].factor


def import_export(power: float) -> tuple[float, float]:
    """Our signed power or current as OCPP's two measurands, both magnitudes: (import = charging, export).

    Power.Active.Import is what flows from the grid to the car (measurand names are as seen from the charger's load).
    """
    return max(power, 0.0) + 0.0, max(-power, 0.0) + 0.0  # + 0.0: no negative zero
