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
    charger with one EVSE. todo: why it is not there although its messages are."""

    id: str
    title: str
    needs: tuple[str, ...] = ()
    limit: str = ""
    never: str = ""
    todo: str = ""


CASES: tuple[Case, ...] = (
    Case("A01", "New password for HTTP Basic authentication", ("SetVariables",)),
    Case("A02", "New station certificate, asked for by the back end", ("SignCertificate", "CertificateSigned"),
         limit="the one for the back end; none for cars (V2G)"),
    Case("A03", "New station certificate, by the station", ("SignCertificate", "CertificateSigned"),
         limit="the one for the back end; none for cars (V2G)"),
    Case("A04", "Security event notification", ("SecurityEventNotification",),
         limit="TLS, authentication, firmware, start and reset, new ways; none of tampering or memory"),
    Case("A05", "Upgrade of the security profile", ("SetNetworkProfile", "SetVariables"),
         limit="to profile 2 or 3 only where the board names a ca_file; not by the key SecurityProfile of 1.6"),
    Case("B01", "Cold boot", ("BootNotification",)),
    Case("B02", "Cold boot, pending", ("BootNotification",)),
    Case("B03", "Cold boot, rejected", ("BootNotification",)),
    Case("B04", "Offline behaviour, idle", ("StatusNotification",)),
    Case("B05", "Set variables", ("SetVariables",)),
    Case("B06", "Get variables", ("GetVariables",)),
    Case("B07", "Get base report", ("GetBaseReport", "NotifyReport")),
    Case("B08", "Get custom report", ("GetReport", "NotifyReport")),
    Case("B09", "Set a network connection profile", ("SetNetworkProfile",)),
    Case("B10", "Migrate to a new back end", ("SetNetworkProfile", "SetVariables"),
         limit="from the next connection on; the board's own address stays the last resort"),
    Case("B11", "Reset without a transaction", ("Reset",), limit="only under a service manager"),
    Case("B12", "Reset with a transaction", ("Reset",), limit="only under a service manager, never of the EVSE alone"),
    Case("C01", "Authorization using RFID", ("Authorize",), limit="no reader"),
    Case("C02", "Authorization using a start button", never="there is no button"),
    Case("C03", "Authorization using a credit or debit card", never="there is no card reader"),
    Case("C04", "Authorization using a PIN", never="there is no key pad"),
    Case("C05", "Authorization for a session started by the back end", ("Authorize", "RequestStartTransaction")),
    Case("C06", "Authorization using a local id type", never="there is nothing to identify oneself at"),
    Case("C07", "Authorization using contract certificates", todo="no plug and charge"),
    Case("C08", "Authorization at the EVSE using external identification (ISO 15118)",
         todo="the car is not kept waiting in its authorization"),
    Case("C09", "Authorization by group id", ("SendLocalList", "Authorize"),
         limit="what list and cache know of groups counts for reservations; no reader"),
    Case("C10", "Store authorization data in the cache", ("Authorize",)),
    Case("C11", "Clear the cache", ("ClearCache",)),
    Case("C12", "Start of a transaction, cached token", ("Authorize",)),
    Case("C13", "Offline authorization through the local list", ("SendLocalList",), limit="no reader"),
    Case("C14", "Online authorization through the local list", ("SendLocalList", "Authorize")),
    Case("C15", "Offline authorization of an unknown token", ("Authorize",), limit="no reader"),
    Case("C16", "Stop a transaction with a master pass", never="there is no reader"),
    Case("C17 to C25", "Prepaid cards, payment terminals, ad hoc payment", never="there is nothing to pay at"),
    Case("D01", "Send the local list", ("SendLocalList",)),
    Case("D02", "Get the version of the local list", ("GetLocalListVersion",)),
    Case("E01", "Start transaction options", ("TransactionEvent",), limit="starts with the plug, unless set otherwise"),
    Case("E02", "Start of a transaction, cable plugged in first", ("TransactionEvent",)),
    Case("E03", "Start of a transaction, token first", ("TransactionEvent",), limit="by remote start: no reader"),
    Case("E04", "Transaction started while offline", ("TransactionEvent",)),
    Case("E05", "Start of a transaction, token not accepted", ("TransactionEvent",), limit="no MaxEnergyOnInvalidId"),
    Case("E06", "Stop transaction options", ("TransactionEvent",), limit="unplugged, or authorization ended"),
    Case("E07", "Transaction stopped locally by a token", never="there is no reader"),
    Case("E08", "Transaction stopped while offline", ("TransactionEvent",)),
    Case("E09", "Cable unplugged at the car: transaction ends", ("TransactionEvent",)),
    Case("E10", "Cable unplugged at the car: transaction goes on", todo="it always ends"),
    Case("E11", "Connection loss during a transaction", ("TransactionEvent",)),
    Case("E12", "Tell of a transaction that was offline", ("TransactionEvent",)),
    Case("E13", "Message of a transaction not accepted", ("TransactionEvent",)),
    Case("E14", "Check transaction status", ("GetTransactionStatus",)),
    Case("E15", "End of charging", ("TransactionEvent",)),
    Case("E16", "Transaction with a fixed cost, energy, time or state of charge", ("TransactionEvent",),
         limit="energy, time and state of charge, set by the back end; no cost, and nobody sets one at the charger"),
    Case("E17", "Transaction resumed after a forced restart", ("TransactionEvent",),
         limit="whether it is the same car nobody can tell"),
    Case("F01", "Remote start, cable plugged in first", ("RequestStartTransaction",)),
    Case("F02", "Remote start, remote start first", ("RequestStartTransaction",)),
    Case("F03", "Remote stop", ("RequestStopTransaction",)),
    Case("F04", "Remote stop, ISO 15118", ("RequestStopTransaction",)),
    Case("F05", "Remotely unlock the connector", ("UnlockConnector",), limit="answered that it cannot be"),
    Case("F06", "Trigger message", ("TriggerMessage",)),
    Case("F07", "Remote start with a fixed cost, energy, time or state of charge",
         ("RequestStartTransaction", "TransactionEvent"), limit="no cost"),
    Case("G01", "Status notification", ("StatusNotification",)),
    Case("G02", "Heartbeat", ("Heartbeat",)),
    Case("G03", "Change availability of the EVSE or connector", ("ChangeAvailability",)),
    Case("G04", "Change availability of the station", ("ChangeAvailability",)),
    Case("G05", "Lock failure", todo="the lock is not seen here"),
    Case("H01", "Reservation", ("ReserveNow",)),
    Case("H02", "Cancel a reservation", ("CancelReservation",)),
    Case("H03", "Use a reservation", ("RequestStartTransaction",), limit="by remote start: no reader"),
    Case("H04", "Reservation ended, not used", ("ReservationStatusUpdate",)),
    Case("I01 to I12", "Tariffs and costs", ("SetDefaultTariff", "CostUpdated")),
    Case("J01", "Meter values outside of a transaction", ("MeterValues",)),
    Case("J02", "Meter values of a transaction", ("TransactionEvent",)),
    Case("J03", "Metering exchanged with the car (ISO 15118)", todo="nothing signed is told"),
    Case("K01", "Set charging profile", ("SetChargingProfile",)),
    Case("K02", "Central smart charging", ("SetChargingProfile",)),
    Case("K03", "Local smart charging", never="one EVSE: there is nothing to share"),
    Case("K04", "Internal load balancing", never="one EVSE: there is nothing to share"),
    Case("K05", "Remote start with a charging profile", ("RequestStartTransaction", "SetChargingProfile")),
    Case("K06", "Smart charging while offline, during a transaction", ("SetChargingProfile",)),
    Case("K07", "Smart charging while offline, at the start of a transaction", ("SetChargingProfile",)),
    Case("K08", "Get composite schedule", ("GetCompositeSchedule",)),
    Case("K09", "Get charging profiles", ("GetChargingProfiles", "ReportChargingProfiles")),
    Case("K10", "Clear charging profile", ("ClearChargingProfile",)),
    Case("K11", "External limit during a transaction", ("NotifyChargingLimit", "TransactionEvent")),
    Case("K12", "External limit without a transaction", ("NotifyChargingLimit",)),
    Case("K13", "External limit released", ("ClearedChargingLimit",)),
    Case("K14", "External limit by a local controller", ("NotifyChargingLimit",)),
    Case("K15", "ISO 15118-2 charging with load levelling", ("NotifyEVChargingNeeds", "NotifyEVChargingSchedule"),
         limit="one schedule at a time, without prices"),
    Case("K16", "Renegotiation by the back end", ("SetChargingProfile", "NotifyEVChargingSchedule")),
    Case("K17", "Renegotiation by the car", ("NotifyEVChargingNeeds", "NotifyEVChargingSchedule")),
    Case("K18", "ISO 15118-20, scheduled control", ("NotifyEVChargingNeeds", "NotifyEVChargingSchedule"),
         limit="one schedule at a time, without prices"),
    Case("K19", "ISO 15118-20, dynamic control", ("NotifyEVChargingNeeds", "SetChargingProfile")),
    Case("K20", "Needs of the car, ISO 15118-20", ("NotifyEVChargingNeeds",)),
    Case("K21", "Requesting priority charging, locally", ("NotifyPriorityCharging",)),
    Case("K22", "Requesting priority charging, remotely", ("UsePriorityCharging",)),
    Case("K27", "Smart charging with local generation", ("SetChargingProfile",)),
    Case("K28", "Dynamic charging profiles", ("UpdateDynamicSchedule", "PullDynamicScheduleUpdate")),
    Case("K29", "Dynamic profiles by an external system", ("NotifyChargingLimit",), limit="limits only"),
    Case("L01", "Secure firmware update", ("UpdateFirmware", "FirmwareStatusNotification"),
         limit="over HTTP and HTTPS; needs the board's installer and roots"),
    Case("L02", "Non-secure firmware update", never="refused on purpose: only signed firmware is installed"),
    Case("L03", "Publish firmware on a local controller", never="this is no local controller"),
    Case("L04", "Unpublish firmware on a local controller", never="this is no local controller"),
    Case("M01", "Install a certificate in the car", ("Get15118EVCertificate",)),
    Case("M02", "Update a certificate in the car", ("Get15118EVCertificate",)),
    Case("M03", "List of installed certificates", ("GetInstalledCertificateIds",),
         limit="those that it installed"),
    Case("M04", "Delete a certificate", ("DeleteCertificate",)),
    Case("M05", "Install a root certificate", ("InstallCertificate",),
         limit="roots of the back end and of who signs firmware"),
    Case("M06", "Status of a V2G certificate", ("GetCertificateStatus",)),
    Case("N01", "Retrieve a log", ("GetLog", "LogStatusNotification"),
         limit="over HTTP and HTTPS; diagnostics and security, no DataCollectorLog"),
    Case("N02", "Get a monitoring report", ("GetMonitoringReport", "NotifyMonitoringReport")),
    Case("N03", "Set a monitoring base", ("SetMonitoringBase",), limit="no preconfigured monitors"),
    Case("N04", "Set variable monitoring", ("SetVariableMonitoring",), limit="no target deltas"),
    Case("N05", "Set a monitoring level", ("SetMonitoringLevel",)),
    Case("N06", "Clear monitors", ("ClearVariableMonitoring",)),
    Case("N07", "Alert event", ("NotifyEvent",)),
    Case("N08", "Periodic event", ("NotifyEvent",)),
    Case("N09", "Get customer information", ("CustomerInformation", "NotifyCustomerInformation"),
         limit="by token"),
    Case("N10", "Clear customer information", ("CustomerInformation",), limit="by token, of the cache"),
    Case("N11 to N15", "Periodic event streams", ("OpenPeriodicEventStream", "NotifyPeriodicEventStream")),
    Case("O01 to O06", "Display messages", ("SetDisplayMessage",)),
    Case("P01", "Data transfer to the charger", ("DataTransfer",), limit="no vendor is known"),
    Case("P02", "Data transfer to the back end", todo="nothing that OCPP has no word for is told"),
    Case("Q01", "V2X authorization", ("Authorize", "NotifyAllowedEnergyTransfer")),
    Case("Q02", "Charging only before V2X",
         ("SetChargingProfile", "NotifyEVChargingNeeds", "NotifyAllowedEnergyTransfer")),
    Case("Q03", "Central V2X control with profiles", ("SetChargingProfile",), limit="no setpointReactive"),
    Case("Q04", "Central V2X control with dynamic profiles", ("UpdateDynamicSchedule", "PullDynamicScheduleUpdate")),
    Case("Q05", "External V2X set-point with the back end's profile", ("SetChargingProfile",)),
    Case("Q06", "External V2X control by a charging profile of an external system", ("NotifyChargingLimit",),
         limit="limits only; its set-point counts where ExternalSetpoint leaves it to him"),
    Case("Q07", "Central frequency support", ("UpdateDynamicSchedule", "AFRRSignal")),
    Case("Q08", "Local frequency support", ("SetChargingProfile",)),
    Case("Q09", "Local load balancing", ("SetChargingProfile",)),
    Case("Q10", "Idle, minimizing energy consumption", ("SetChargingProfile",)),
    Case("Q11", "Going offline during V2X", ("SetChargingProfile",)),
    Case("Q12", "Resuming a V2X operation after going offline", ("SetChargingProfile",)),
    Case("R01", "DER control in the EVSE", ("SetDERControl", "NotifyDERStartStop"),
         limit="no PowerMonitoringMustTrip, no hysteresis, no shares of available power"),
    Case("R02", "DER control in the car", never="the inverter is in the charger"),
    Case("R03", "Hybrid DER control in both", never="the inverter is in the charger"),
    Case("R04", "DER control: set, report, clear, supersede",
         ("SetDERControl", "GetDERControl", "ReportDERControl", "ClearDERControl", "NotifyDERStartStop")),
    Case("R05", "Grid event alarm", ("NotifyDERAlarm",)),
    Case("S01 to S04", "Battery swapping", never="there is no battery to swap"),
)  # fmt: skip


def state(case: Case, there: Set[str]) -> str:
    """What of a use case is done when the messages `there` are."""
    if case.never:
        return NOT_APPLICABLE
    missing = [name for name in case.needs if name not in there]
    if case.todo:
        return NOT_YET
    if len(missing) == len(case.needs):
        return NOT_YET
    return PART if missing or case.limit else DONE


def rows(there: Set[str]) -> list[str]:
    """The table of the page."""
    found = ["| Use case | | State | What is left out |", "|---|---|---|---|"]
    states = [state(case, there) for case in CASES]
    for case, word in zip(CASES, states, strict=True):
        missing = [name for name in case.needs if name not in there]
        left = (
            case.never
            or case.todo
            or "; ".join([*(f"no {name}" for name in missing), *([case.limit] if case.limit else [])])
        )
        found.append(f"| {case.id} | {case.title} | {word} | {left} |")
    counts = ", ".join(f"{states.count(word)} {word}" for word in (DONE, PART, NOT_YET, NOT_APPLICABLE))
    return [*found, "", f"{len(CASES)} lines: {counts}."]
