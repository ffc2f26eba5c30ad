"""The device model as one table: components and their variables, where each value comes from, which may be written.

A row is true of this charger or it is not here: what is read comes from the station, the board's ability or the
settings in force, and what can be written changes a field of tunables.py that something reads. Names and data types are
those of libocpp's component files; the appendix of OCPP 2.x was not at hand. The keys of OCPP 1.6 are names of the same
rows, and some that only 1.6 has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from firmware.bridges.ocpp import local_time, telling, times
from firmware.bridges.ocpp.authorization import LIST_ITEMS, Authorization
from firmware.bridges.ocpp.certificates import KEPT as CERTIFICATES
from firmware.bridges.ocpp.certificates import MAX_ROOTS, roots_kept
from firmware.bridges.ocpp.charging import SmartCharging
from firmware.bridges.ocpp.dialect import V21
from firmware.bridges.ocpp.frames import MAX_FRAME_CHARS
from firmware.bridges.ocpp.id_tokens import MAX_ENTRIES
from firmware.bridges.ocpp.jobs import SCHEMES
from firmware.bridges.ocpp.power_variables import MAX_PROFILES, MAX_STACK_LEVEL, PERIODS, power_variables
from firmware.bridges.ocpp.transport import PING_S
from firmware.bridges.ocpp.tunables import MODE_INTERVALS, WORDS
from firmware.bridges.ocpp.tx_limits import SUPPORTED

if TYPE_CHECKING:
    from firmware.bridges.ocpp.station import Station

ITEMS = 20  # policy value: so many variables in one call and in one part of a report
VALUE_CHARS = "1000"  # as the schemas of 2.0.1; those of 2.1 permit more
BALANCE_W = 1e6  # policy value: a threshold of a site's connection is at most a megawatt
DAY_S = 86_400.0

Read = Callable[["Station", float], str]


@dataclass(frozen=True, slots=True)
class Row:
    """One variable. read: its value now (OCPP's spelling). component: empty where only 1.6 has it. field: of
    Tunables, for what can be written, within low to high. reboot: it counts from the next start. key: in 1.6."""

    component: str
    name: str
    kind: str
    read: Read
    evse: int | None = None
    connector: int | None = None
    instance: str | None = None
    unit: str = ""
    field: str = ""
    low: float = 0.0
    high: float = DAY_S
    maximum: float | None = None  # maxLimit of what is only read
    choices: str = ""
    reboot: bool = False
    key: str = ""
    secret: bool = False  # it is written and never read: the password

    @property
    def writable(self) -> bool:
        """Whether the back end may write it."""
        return self.secret or bool(self.field)

    @property
    def label(self) -> str:
        """For people, and for the file: Component[.evse[.connector]].Variable[instance]."""
        place = "".join(f".{n}" for n in (self.evse, self.connector) if n is not None)
        return f"{self.component or '1.6'}{place}.{self.name or self.key}" + (
            f"[{self.instance}]" if self.instance else ""
        )


def component_of(row: Row) -> dict[str, Any]:
    """ComponentType of a variable."""
    component: dict[str, Any] = {"name": row.component}
    if row.evse is not None:
        place = {"id": row.evse}
        component["evse"] = place if row.connector is None else place | {"connectorId": row.connector}
    return component


def variable_of(row: Row) -> dict[str, Any]:
    """VariableType of a variable."""
    return {"name": row.name} | ({} if row.instance is None else {"instance": row.instance})


def _is(value: str) -> Read:
    return lambda station, now: value


def _written(field: str, station: Station, now: float) -> str:
    return station.tune.show(field)


def _set(component: str, name: str, field: str, key: str = "", *, kind: str = "integer", **more: object) -> Row:
    # The keywords are fields of Row at every call below; their types are lost in **more.
    return Row(component, name, kind, partial(_written, field), field=field, key=key, **more)  # type: ignore[arg-type]


def _switch(component: str, name: str, field: str, key: str = "") -> Row:
    return _set(component, name, field, key, kind="boolean")


def _state(station: Station, now: float) -> str:
    if station.view is None:
        return "Unavailable"
    return str(telling.status(V21, station.view, station.available, station.reservation is not None)["connectorStatus"])


def _priority(station: Station, now: float) -> str:
    return station.tune.show("priority") or "1"


def _security(station: Station, now: float) -> str:
    used = station.credentials.security
    return str(station.identity.security if used is None else used)


def _certificates(station: Station, now: float) -> str:
    return str(len(roots_kept(station.outbox.state(CERTIFICATES))))


def _protocol(station: Station) -> str:
    """That the session with the car speaks; empty: there is none, or it is not one of ISO 15118."""
    car = None if station.view is None else station.view.car
    return "" if car is None else telling.PROTOCOLS.get(car.protocol, "")


def _listed(station: Station, now: float) -> str:
    """Entries of the local list."""
    return str(next(len(f.known.listed) for f in station.functions if isinstance(f, Authorization)))


def _profiles(station: Station, now: float) -> str:
    """How many charging profiles there are."""
    return str(next(len(f.profiles) for f in station.functions if isinstance(f, SmartCharging)))


def _offset(station: Station, now: float) -> str:
    """Of the time zone; empty while that is not known."""
    zone = station.tune.zone
    return "" if zone is None else local_time.offset(zone, station.wall_s(now))


def _problem(station: Station, now: float) -> str:
    return str(station.view is not None and bool(station.view.faults)).lower()


def _power(station: Station, now: float) -> str:
    return f"{abs((station.view and station.view.power_w) or 0.0):.0f}"


def rows(station: Station) -> Iterator[Row]:
    """All variables of this charger. Labels and keys are unique; a test looks."""
    who, ability, one = station.identity, station.ability, telling.CONNECTOR
    measurands = ",".join(name for name in telling.MEASURANDS if name not in telling.ONLY_21)
    extra = "".join(f",{name}" for name in telling.MEASURANDS if name in telling.ONLY_21)
    yield Row("ChargingStation", "Available", "boolean", _is("true"))
    yield Row("ChargingStation", "AvailabilityState", "OptionList", _state, choices=_STATES)
    yield Row("ChargingStation", "Problem", "boolean", _problem)
    for name, text in (("VendorName", who.vendor), ("Model", who.model), ("SerialNumber", who.serial)):
        yield Row("ChargingStation", name, "string", _is(text))
    yield Row("ChargingStation", "FirmwareVersion", "string", _is(who.firmware))
    yield Row("EVSE", "Available", "boolean", _is("true"), one)
    yield Row("EVSE", "AvailabilityState", "OptionList", _state, one, choices=_STATES)
    yield Row("EVSE", "Power", "decimal", _power, one, unit="W", maximum=ability.rated_w)
    yield Row("EVSE", "SupplyPhases", "integer", _is("0"), one)  # DC
    yield Row("EVSE", "AllowReset", "boolean", _is("false"), one)  # the whole station only
    yield Row("Connector", "Available", "boolean", _is("true"), one, one)
    yield Row("Connector", "AvailabilityState", "OptionList", _state, one, one, choices=_STATES)
    yield Row("Connector", "SupplyPhases", "integer", _is("0"), one, one)

    yield Row("SecurityCtrlr", "Identity", "string", _is(who.name))
    yield Row("SecurityCtrlr", "SecurityProfile", "integer", _security)
    yield Row("SecurityCtrlr", "AllowSecurityDowngrade", "boolean", _is("false"))
    yield Row("SecurityCtrlr", "BasicAuthPassword", "string", _is(""), key="AuthorizationKey", secret=True, maximum=40)
    yield _set("SecurityCtrlr", "OrganizationName", "organization", "CpoName", kind="string", low=1, high=64,
               maximum=64)  # fmt: skip
    yield _set("SecurityCtrlr", "CertSigningWaitMinimum", "signing_wait_s", "CertSigningWaitMinimum", unit="s", low=1)
    yield _set("SecurityCtrlr", "CertSigningRepeatTimes", "signing_repeats", "CertSigningRepeatTimes", high=10)
    yield Row("SecurityCtrlr", "MaxCertificateChainSize", "integer", _is("10000"), key="CertificateSignedMaxChainSize")
    yield Row("SecurityCtrlr", "CertificateEntries", "integer", _certificates, maximum=MAX_ROOTS)
    yield Row("SecurityCtrlr", "AdditionalRootCertificateCheck", "boolean", _is("false"),
              key="AdditionalRootCertificateCheck")  # fmt: skip

    comm, tx_event = "OCPPCommCtrlr", "TransactionEvent"
    yield _set(comm, "HeartbeatInterval", "heartbeat_s", "HeartbeatInterval", unit="s", low=1)
    yield _set(comm, "MessageAttempts", "attempts", "TransactionMessageAttempts", instance=tx_event, low=1, high=100)
    yield _set(comm, "MessageAttemptInterval", "attempt_interval_s", "TransactionMessageRetryInterval",
               instance=tx_event, unit="s", low=1)  # fmt: skip
    yield _set(comm, "RetryBackOffWaitMinimum", "retry_minimum_s", unit="s", low=1, high=3600, reboot=True)
    yield _set(comm, "RetryBackOffRandomRange", "retry_random_s", unit="s", high=3600, reboot=True)
    yield _set(comm, "RetryBackOffRepeatTimes", "retry_repeat", high=10, reboot=True)
    yield _set(comm, "NetworkProfileConnectionAttempts", "connection_attempts", low=1, high=100, reboot=True)
    yield Row(comm, "NetworkConfigurationPriority", "SequenceList", _priority, field="priority", low=1, high=5,
              choices="1,2,3,4,5", reboot=True)  # fmt: skip
    yield Row(comm, "FileTransferProtocols", "MemberList", _is(",".join(SCHEMES).upper()))
    timeout = _is(f"{station.timeout_s:.0f}")
    yield Row(comm, "MessageTimeout", "integer", timeout, instance="Default", unit="s")
    yield Row(comm, "QueueAllMessages", "boolean", _is("false"))
    yield Row(comm, "ResetRetries", "integer", _is("0"), key="ResetRetries")
    yield Row(comm, "UnlockOnEVSideDisconnect", "boolean", _is("true"), key="UnlockConnectorOnEVSideDisconnect")
    yield Row(comm, "WebSocketPingInterval", "integer", _is(f"{PING_S:.0f}"), unit="s", key="WebSocketPingInterval")
    data, longest = "DeviceDataCtrlr", str(MAX_FRAME_CHARS)
    for action in ("GetReport", "GetVariables", "SetVariables"):
        yield Row(data, "ItemsPerMessage", "integer", _is(str(ITEMS)), instance=action)
        yield Row(data, "BytesPerMessage", "integer", _is(longest), instance=action)
    yield Row(data, "ConfigurationValueSize", "integer", _is(VALUE_CHARS))
    yield Row(data, "ReportingValueSize", "integer", _is(VALUE_CHARS))

    yield Row("ClockCtrlr", "DateTime", "dateTime", lambda station, now: times.show(station.wall_s(now)))
    yield Row("ClockCtrlr", "TimeSource", "SequenceList",
              lambda station, now: "Heartbeat" if station.follows_clock else "RealTimeClock")  # fmt: skip

    yield _set("ClockCtrlr", "TimeZone", "time_zone", kind="string")
    yield Row("ClockCtrlr", "TimeOffset", "string", _offset)

    yield Row("ReservationCtrlr", "Available", "boolean", _is("true"))
    yield Row("ReservationCtrlr", "Enabled", "boolean", _is("true"))
    yield Row("ReservationCtrlr", "NonEvseSpecific", "boolean", _is("false"))
    yield Row("MonitoringCtrlr", "Available", "boolean", _is("true"))
    yield Row("MonitoringCtrlr", "Enabled", "boolean", _is("true"))
    for action in ("SetVariableMonitoring", "ClearVariableMonitoring"):
        yield Row("MonitoringCtrlr", "ItemsPerMessage", "integer", _is(str(ITEMS)), instance=action)

    yield _switch("AuthCtrlr", "Enabled", "authorize")
    yield _switch("AuthCtrlr", "AuthorizeRemoteStart", "authorize_remote", "AuthorizeRemoteTxRequests")
    yield _switch("AuthCtrlr", "LocalAuthorizeOffline", "local_offline", "LocalAuthorizeOffline")
    yield _switch("AuthCtrlr", "LocalPreAuthorize", "local_pre", "LocalPreAuthorize")
    yield _switch("AuthCtrlr", "OfflineTxForUnknownIdEnabled", "unknown_offline", "AllowOfflineTxForUnknownId")
    yield Row("AuthCacheCtrlr", "Available", "boolean", _is("true"))
    yield _switch("AuthCacheCtrlr", "Enabled", "cache", "AuthorizationCacheEnabled")
    yield _set("AuthCacheCtrlr", "LifeTime", "cache_s", unit="s", low=60, high=366 * DAY_S)
    yield Row("LocalAuthListCtrlr", "Available", "boolean", _is("true"))
    yield _switch("LocalAuthListCtrlr", "Enabled", "local_list", "LocalAuthListEnabled")
    yield Row("LocalAuthListCtrlr", "Entries", "integer", _listed, maximum=MAX_ENTRIES)
    yield Row("LocalAuthListCtrlr", "BytesPerMessage", "integer", _is(longest))
    yield Row("LocalAuthListCtrlr", "ItemsPerMessage", "integer", _is(str(LIST_ITEMS)), key="SendLocalListMaxLength")

    yield _set("TxCtrlr", "EVConnectionTimeOut", "connect_timeout_s", "ConnectionTimeOut", unit="s", low=1)
    yield _switch("TxCtrlr", "StopTxOnInvalidId", "stop_on_invalid", "StopTransactionOnInvalidId")
    yield Row("TxCtrlr", "StopTxOnEVSideDisconnect", "boolean", _is("true"), key="StopTransactionOnEVSideDisconnect")
    yield Row("TxCtrlr", "TxStartPoint", "MemberList",
              lambda station, now: "PowerPathClosed" if station.tune.authorize else "EVConnected")  # fmt: skip
    yield Row("TxCtrlr", "TxStopPoint", "MemberList", _is("EVConnected,Authorized"))
    yield Row("TxCtrlr", "SupportedLimits", "MemberList", _is(",".join(SUPPORTED)))
    yield Row("TxCtrlr", "TxBeforeAcceptedEnabled", "boolean", _is("true"))
    yield _set("SampledDataCtrlr", "TxUpdatedInterval", "meter_interval_s", "MeterValueSampleInterval", unit="s", low=1)
    for name in ("TxStartedMeasurands", "TxUpdatedMeasurands", "TxEndedMeasurands"):
        key = {"TxUpdatedMeasurands": "MeterValuesSampledData", "TxEndedMeasurands": "StopTxnSampledData"}.get(name, "")
        yield Row("SampledDataCtrlr", name, "MemberList", _is(measurands), key=key)

    aligned = "AlignedDataCtrlr"
    yield Row(aligned, "Available", "boolean", _is("true"))
    yield _set(aligned, "Interval", "aligned_s", "ClockAlignedDataInterval", unit="s")
    yield _switch(aligned, "SendDuringIdle", "aligned_idle")
    yield Row(aligned, "Measurands", "MemberList", _is(measurands), key="MeterValuesAlignedData")
    yield Row(aligned, "TxEndedInterval", "integer", _is("0"), unit="s")  # the end is told by its own values
    yield Row(aligned, "TxEndedMeasurands", "MemberList", _is(""), key="StopTxnAlignedData")

    for mode, interval in MODE_INTERVALS.items():
        yield _set("V2XChargingCtrlr", "TxUpdatedInterval", interval, evse=one, instance=mode, unit="s")
        for name in ("TxStartedMeasurands", "TxUpdatedMeasurands", "TxEndedMeasurands"):
            yield Row("V2XChargingCtrlr", name, "MemberList", _is(measurands + extra), one, instance=mode)
    for side in ("upper", "lower"):  # name and instances by memory, not verified
        yield _set("V2XChargingCtrlr", "LocalLoadBalancing", f"balance_{side}_w", evse=one, unit="W",
                   instance=f"{side.title()}Threshold", low=-BALANCE_W, high=BALANCE_W)  # fmt: skip
    yield Row("ConnectedEV", "Available", "boolean", lambda station, now: str(_protocol(station) != "").lower(), one)
    yield Row("ConnectedEV", "ProtocolAgreed", "string", lambda station, now: _protocol(station), one)

    smart = "SmartChargingCtrlr"
    yield Row(smart, "Entries", "integer", _profiles, instance="ChargingProfiles", maximum=MAX_PROFILES)
    yield _set(smart, "LimitChangeSignificance", "limit_significance_pct", unit="Percent", high=100)
    yield _switch(smart, "NotifyChargingLimitWithSchedules", "limit_schedules")
    yield _set(smart, "IgnoredProfilePurposesOffline", "ignored_offline", kind="MemberList",
               choices=",".join(WORDS["ignored_offline"]))  # fmt: skip
    for v in power_variables(ability, (who.vendor, who.model, who.firmware)):
        yield Row(v.component, v.name, v.kind, _is(v.value), v.evse, None, v.instance, v.unit)
    for key, text, kind in (
        ("NumberOfConnectors", "1", "integer"),
        ("SupportedFeatureProfiles",
         "Core,SmartCharging,RemoteTrigger,LocalAuthListManagement,Reservation", "MemberList"),
        ("ReserveConnectorZeroSupported", "false", "boolean"),
        ("SupportedFileTransferProtocols", ",".join(SCHEMES).upper(), "MemberList"),
        ("GetConfigurationMaxKeys", "100", "integer"),
        ("ConnectorPhaseRotation", "NotApplicable", "string"),
        ("LocalAuthListMaxLength", str(MAX_ENTRIES), "integer"),
        ("CertificateStoreMaxLength", str(MAX_ROOTS), "integer"),
        ("ChargeProfileMaxStackLevel", str(MAX_STACK_LEVEL), "integer"),
        ("ChargingScheduleAllowedChargingRateUnit", "Current,Power", "MemberList"),
        ("ChargingScheduleMaxPeriods", str(PERIODS), "integer"),
        ("MaxChargingProfilesInstalled", str(MAX_PROFILES), "integer"),
    ):  # fmt: skip
        yield Row("", "", kind, _is(text), key=key)


_STATES = "Available,Occupied,Reserved,Unavailable,Faulted"
