"""Variables of the device model that say what power functions this charger has. Pure; the device model reads them.

Names are those of libocpp's component files (DCDERCtrlr, V2XChargingCtrlr, SmartChargingCtrlr); the appendix of OCPP
2.1 was not at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firmware.bridges.ocpp import telling
from firmware.bridges.ocpp.checks import MODES
from firmware.bridges.ocpp.der_map import KINDS
from firmware.bridges.ocpp.view import Ability

MAX_STACK_LEVEL = 2**31 - 1  # any level of the schema is taken
MAX_PROFILES = 50  # as firmware/bridges/ocpp/charging.py
PERIODS = 1024  # as the schema of 2.1


@dataclass(frozen=True, slots=True)
class Variable:
    """A read-only variable. evse: None for the whole station. kind: its dataType; unit: empty where it has none."""

    component: str
    name: str
    value: str
    kind: str
    evse: int | None = None
    instance: str | None = None
    unit: str = ""


def power_variables(ability: Ability, identity: tuple[str, str, str]) -> Iterator[Variable]:
    """All of them. identity: manufacturer, model and firmware version of the charger."""
    evse = telling.CONNECTOR

    def number(component: str, name: str, value: float, unit: str) -> Variable:
        return Variable(component, name, f"{value:g}", "decimal", evse, None, unit)

    def yes(component: str, name: str, value: bool, evse: int | None = None, instance: str | None = None) -> Variable:
        return Variable(component, name, str(value).lower(), "boolean", evse, instance)

    der, v2x, smart = "DCDERCtrlr", "V2XChargingCtrlr", "SmartChargingCtrlr"
    yield yes(der, "Available", True, evse)
    yield yes(der, "Enabled", True, evse)
    yield Variable(der, "ModesSupported", ",".join(KINDS), "MemberList", evse)
    rated_w = ability.rated_w
    yield number(der, "MaxW", ability.discharge_w, "W")
    yield number(der, "MaxVA", rated_w, "VA")
    yield number(der, "MaxVar", rated_w, "Var")
    yield number(der, "MaxVarNeg", rated_w, "Var")
    yield number(der, "MaxChargeRateW", ability.charge_w, "W")
    yield number(der, "MaxChargeRateVA", rated_w, "VA")
    for name, value in zip(("InverterManufacturer", "InverterModel", "InverterSwVersion"), identity, strict=True):
        yield Variable(der, name, value, "string", evse)
    modes = [mode for mode in MODES if mode != "LocalLoadBalancing" or ability.site_meter]
    yield yes(v2x, "Available", ability.discharge_w > 0.0, evse)
    yield yes(v2x, "Enabled", ability.discharge_w > 0.0, evse)
    yield Variable(v2x, "SupportedEnergyTransferModes", "DC,DC_BPT", "MemberList", evse)
    yield Variable(v2x, "SupportedOperationModes", ",".join(modes), "MemberList", evse)
    if ability.protocols:
        iso = "ISO15118Ctrlr"
        yield yes(iso, "Available", True, evse)
        yield yes(iso, "Enabled", True, evse)
        yield yes(iso, "ServiceRenegotiationSupport", True, evse)
        for nth, protocol in enumerate(ability.protocols, 1):
            yield Variable(iso, "ProtocolSupported", telling.PROTOCOLS[protocol], "string", evse, str(nth))
        # No plug and charge, and no certificates of cars.
        for name in ("PnCEnabled", "CentralContractValidationAllowed", "ContractValidationOffline"):
            yield yes(iso, name, False, evse)
        for name in ("V2GCertificateInstallationEnabled", "ContractCertificateInstallationEnabled"):
            yield yes(iso, name, False, evse)
    yield yes(smart, "Available", True)
    yield yes(smart, "Enabled", True)
    yield yes(smart, "ACPhaseSwitchingSupported", False)
    yield yes(smart, "Phases3to1", False)
    yield yes(smart, "ExternalControlSignalsEnabled", True)
    yield Variable(smart, "UpdateRateLimit", "0", "integer", unit="s")  # a profile may be set as often as one likes
    yield Variable(smart, "MaxExternalConstraintsId", "0", "integer")  # the charger makes no profiles of its own
    for purpose in (
        "ChargingStationMaxProfile",
        "LocalGeneration",
        "PriorityCharging",
        "TxDefaultProfile",
        "TxProfile",
    ):
        yield yes(smart, "ChargingProfilePersistence", True, instance=purpose)
    yield Variable(smart, "RateUnit", "A,W", "MemberList")
    yield Variable(smart, "ProfileStackLevel", str(MAX_STACK_LEVEL), "integer")
    yield Variable(smart, "PeriodsPerSchedule", str(PERIODS), "integer")
    yield Variable(smart, "SupportedAdditionalPurposes", "PriorityCharging,LocalGeneration", "MemberList")
    for feature, there in (
        ("DynamicProfiles", True),
        ("UseLocalTime", True),
        ("RandomizedDelay", True),
        ("LimitAtSoC", True),
        ("EvseSleep", True),
    ):
        yield yes(smart, "SupportsFeature", there, instance=feature)
