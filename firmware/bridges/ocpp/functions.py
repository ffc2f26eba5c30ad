"""The functions of OCPP that this charger has, in the order in which they are asked. One line each."""

from __future__ import annotations

from firmware.bridges.ocpp.aligned import AlignedValues
from firmware.bridges.ocpp.authorization import Authorization
from firmware.bridges.ocpp.availability import Availability
from firmware.bridges.ocpp.basics import Basics
from firmware.bridges.ocpp.car_plan import CarPlan
from firmware.bridges.ocpp.certificates import Certificates
from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.client_certificate import ClientCertificate
from firmware.bridges.ocpp.customer import CustomerInformation
from firmware.bridges.ocpp.der import DerControl
from firmware.bridges.ocpp.dialect import Dialect
from firmware.bridges.ocpp.firmware_update import FirmwareUpdate
from firmware.bridges.ocpp.function import Function
from firmware.bridges.ocpp.limits import LocalLimits
from firmware.bridges.ocpp.logs import Logs
from firmware.bridges.ocpp.monitors import Monitors
from firmware.bridges.ocpp.needs import EnergyTransfer
from firmware.bridges.ocpp.network_profiles import NetworkProfiles
from firmware.bridges.ocpp.priority import PriorityCharging
from firmware.bridges.ocpp.remote import RemoteControl
from firmware.bridges.ocpp.reservation import Reservation
from firmware.bridges.ocpp.security import SecurityEvents
from firmware.bridges.ocpp.tx_limits import TransactionLimits
from firmware.bridges.ocpp.variables import DeviceModel

FUNCTIONS: tuple[type[Function], ...] = (
    DeviceModel,
    Availability,
    Reservation,
    Authorization,
    Basics,
    AlignedValues,
    SmartCharging,
    EnergyTransfer,
    CarPlan,
    LocalLimits,
    TransactionLimits,
    DerControl,
    RemoteControl,
    SecurityEvents,
    Monitors,
    Logs,
    FirmwareUpdate,
    NetworkProfiles,
    Certificates,
    ClientCertificate,
    CustomerInformation,
    PriorityCharging,
)  # fmt: skip


def answered(dialect: Dialect) -> frozenset[str]:
    """The back end's calls that are carried out in this version."""
    return frozenset().union(*(function.answers(dialect) for function in FUNCTIONS))


def said(dialect: Dialect) -> frozenset[str]:
    """The calls that the functions make in this version."""
    return frozenset().union(*(function.says(dialect) for function in FUNCTIONS))
