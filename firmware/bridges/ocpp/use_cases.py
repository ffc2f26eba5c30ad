"""Use cases of OCPP 2.1 and what of them is done, for docs/ocpp-status.md. A use case is done when the messages that it
needs are carried out or said (functions.py), except where a limit is named here.

Numbers and titles are as we know them from public software (libocpp's status document) and were not compared with the
specification. Blocks that other functions of this charger fill belong in `CASES` too.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

DONE, PART, NOT_YET, NOT_APPLICABLE = "done", "in part", "not yet", "not applicable"


@dataclass(frozen=True, slots=True)
class Case:
    """A use case. needs: its messages. limit: what is left out (then it is done in part). never: why it is none of a DC
    charger with one EVSE."""

    id: str
    title: str
    needs: tuple[str, ...] = ()
    limit: str = ""
    never: str = ""


CASES: tuple[Case, ...] = (
    Case("B01", "Cold boot", ("BootNotification",)),
    Case("B02", "Cold boot, pending", ("BootNotification",)),
    Case("B03", "Cold boot, rejected", ("BootNotification",)),
    Case("B04", "Offline behaviour, idle", ("StatusNotification",)),
    Case("B05", "Set variables", ("SetVariables",)),
    Case("B06", "Get variables", ("GetVariables",)),
    Case("B07", "Get base report", ("GetBaseReport", "NotifyReport")),
    Case("B08", "Get custom report", ("GetReport", "NotifyReport")),
    Case("B09", "Set a network connection profile", ("SetNetworkProfile",)),
    Case("B11", "Reset without a transaction", ("Reset",), limit="only under a service manager"),
    Case("B12", "Reset with a transaction", ("Reset",), limit="only under a service manager, never of the EVSE alone"),
    Case("C01", "Authorization using RFID", ("Authorize",), limit="no reader"),
    Case("C05", "Authorization for a session started by the back end", ("Authorize", "RequestStartTransaction")),
    Case("C10", "Store authorization data in the cache", ("Authorize",)),
    Case("C11", "Clear the cache", ("ClearCache",)),
    Case("C12", "Start of a transaction, cached token", ("Authorize",)),
    Case("C13", "Offline authorization through the local list", ("SendLocalList",), limit="no reader"),
    Case("C14", "Online authorization through the local list", ("SendLocalList", "Authorize")),
    Case("C15", "Offline authorization of an unknown token", ("Authorize",), limit="no reader"),
    Case("D01", "Send the local list", ("SendLocalList",)),
    Case("D02", "Get the version of the local list", ("GetLocalListVersion",)),
    Case("E01", "Start transaction options", ("TransactionEvent",), limit="starts with the plug, unless set otherwise"),
    Case("E04", "Transaction started while offline", ("TransactionEvent",)),
    Case("E05", "Start of a transaction, token not accepted", ("TransactionEvent",), limit="no MaxEnergyOnInvalidId"),
    Case("E11", "Connection loss during a transaction", ("TransactionEvent",)),
    Case("E14", "Check transaction status", ("GetTransactionStatus",)),
    Case("F01", "Remote start, cable plugged in first", ("RequestStartTransaction",)),
    Case("F02", "Remote start, remote start first", ("RequestStartTransaction",)),
    Case("F03", "Remote stop", ("RequestStopTransaction",)),
    Case("F05", "Remotely unlock the connector", ("UnlockConnector",), limit="answered that it cannot be"),
    Case("F06", "Trigger message", ("TriggerMessage",)),
    Case("G02", "Heartbeat", ("Heartbeat",)),
    Case("G03", "Change availability of the EVSE or connector", ("ChangeAvailability",)),
    Case("G04", "Change availability of the station", ("ChangeAvailability",)),
    Case("K01", "Set charging profile", ("SetChargingProfile",), limit="no useLocalTime"),
    Case("K02", "Central smart charging", ("SetChargingProfile",)),
    Case("K03", "Local smart charging", never="one EVSE: there is nothing to share"),
    Case("K05", "Remote start with a charging profile", ("RequestStartTransaction", "SetChargingProfile")),
    Case("K08", "Get composite schedule", ("GetCompositeSchedule",)),
    Case("K09", "Get charging profiles", ("GetChargingProfiles", "ReportChargingProfiles")),
    Case("K10", "Clear charging profile", ("ClearChargingProfile",)),
    Case("K11", "External limit during a transaction", ("NotifyChargingLimit", "TransactionEvent")),
    Case("K12", "External limit without a transaction", ("NotifyChargingLimit",)),
    Case("K13", "External limit released", ("ClearedChargingLimit",)),
    Case("K14", "External limit by a local controller", ("NotifyChargingLimit",)),
    Case("K15", "ISO 15118-2 charging with load levelling", ("NotifyEVChargingNeeds", "NotifyEVChargingSchedule")),
    Case("K16", "Renegotiation by the back end", ("NotifyEVChargingSchedule",)),
    Case("K17", "Renegotiation by the car", ("NotifyEVChargingNeeds", "NotifyEVChargingSchedule")),
    Case("K18", "ISO 15118-20, scheduled control", ("NotifyEVChargingNeeds",), limit="schedules do not reach the car"),
    Case("K19", "ISO 15118-20, dynamic control", ("NotifyEVChargingNeeds", "SetChargingProfile")),
    Case("K20", "Needs of the car, ISO 15118-20", ("NotifyEVChargingNeeds",)),
    Case("K21", "Requesting priority charging, locally", ("NotifyPriorityCharging",)),
    Case("K22", "Requesting priority charging, remotely", ("UsePriorityCharging",)),
    Case("K27", "Smart charging with local generation", ("SetChargingProfile",)),
    Case("K28", "Dynamic charging profiles", ("UpdateDynamicSchedule", "PullDynamicScheduleUpdate")),
    Case("K29", "Dynamic profiles by an external system", ("NotifyChargingLimit",), limit="limits only"),
    Case("Q01", "V2X authorization", ("Authorize", "NotifyAllowedEnergyTransfer")),
    Case("Q02", "Charging only before V2X", ("SetChargingProfile", "NotifyEVChargingNeeds")),
    Case("Q03", "Central V2X control with profiles", ("SetChargingProfile",), limit="no setpointReactive"),
    Case("Q04", "Central V2X control with dynamic profiles", ("UpdateDynamicSchedule", "PullDynamicScheduleUpdate")),
    Case("Q05", "External V2X set-point with the back end's profile", ("SetChargingProfile",)),
    Case("Q06", "External V2X control by a charging profile of an external system", ("NotifyChargingLimit",),
         limit="limits only; its set-point counts where ExternalSetpoint leaves it to him"),
    Case("Q07", "Central frequency support", ("UpdateDynamicSchedule", "AFRRSignal")),
    Case("Q08", "Local frequency support", ("SetChargingProfile",)),
    Case("Q09", "Local load balancing", ("SetChargingProfile",), limit="thresholds come from the board"),
    Case("Q10", "Idle, minimizing energy consumption", ("SetChargingProfile",), limit="no evseSleep"),
    Case("Q11", "Going offline during V2X", ("SetChargingProfile",)),
    Case("Q12", "Resuming a V2X operation after going offline", ("SetChargingProfile",)),
    Case("R01", "DER control in the EVSE", ("SetDERControl", "NotifyDERStartStop"),
         limit="no FreqWatt, WattPF, PowerMonitoringMustTrip, hysteresis"),
    Case("R02", "DER control in the car", never="the inverter is in the charger"),
    Case("R03", "Hybrid DER control in both", never="the inverter is in the charger"),
    Case("R04", "DER control: set, report, clear, supersede",
         ("SetDERControl", "GetDERControl", "ReportDERControl", "ClearDERControl", "NotifyDERStartStop")),
    Case("R05", "Grid event alarm", ("NotifyDERAlarm",), limit="of trips by voltage and frequency"),
)  # fmt: skip


def state(case: Case, there: Set[str]) -> str:
    """What of a use case is done when the messages `there` are."""
    if case.never:
        return NOT_APPLICABLE
    missing = [name for name in case.needs if name not in there]
    if len(missing) == len(case.needs):
        return NOT_YET
    return PART if missing or case.limit else DONE


def rows(there: Set[str]) -> list[str]:
    """The table of the page."""
    found = ["| Use case | | State | What is left out |", "|---|---|---|---|"]
    for case in CASES:
        missing = [name for name in case.needs if name not in there]
        left = case.never or "; ".join([*(f"no {name}" for name in missing), *([case.limit] if case.limit else [])])
        found.append(f"| {case.id} | {case.title} | {state(case, there)} | {left} |")
    return found
