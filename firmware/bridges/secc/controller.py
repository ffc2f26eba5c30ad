"""The package's EVSEControllerInterface over our mirror. Every callback reads or writes the state object; none decides.

Runs only in the SECC's own environment. An exception in a callback would end the session without a FAILED response, so
callbacks do nothing that can fail. What a callback may not do is wait, with one exception that is bounded: contactors
open before PowerDeliveryRes says so.
"""

from __future__ import annotations

import time
from typing import Any

from iso15118.secc.controller.ev_data import (
    EVDataContext,
    EVDCCLLimits,
    EVDCCPDLimits,
    EVRatedLimits,
    EVSessionLimits,
)
from iso15118.secc.controller.evse_data import (
    CurrentType,
    EVSEDataContext,
    EVSEDCCLLimits,
    EVSEDCCPDLimits,
    EVSERatedLimits,
    EVSESessionLimits,
)
from iso15118.secc.controller.interface import AuthorizationResponse, EVSEControllerInterface, ServiceStatus
from iso15118.shared.messages import datatypes as dt2
from iso15118.shared.messages.din_spec import datatypes as din
from iso15118.shared.messages.enums import (
    AuthorizationStatus,
    ControlMode,
    CpState,
    EnergyTransferModeEnum,
    IsolationLevel,
    Protocol,
    ServiceV20,
)
from iso15118.shared.messages.iso15118_2 import datatypes as iso2
from iso15118.shared.messages.iso15118_20 import common_messages as cm
from iso15118.shared.messages.iso15118_20 import common_types as ct
from iso15118.shared.messages.iso15118_20 import dc as dc20

from firmware.bridges.secc.decimals import decimal
from firmware.bridges.secc.messages import ChargerState
from firmware.bridges.secc.mirror import Mirror
from firmware.bridges.secc.plan import SPAN_S, durations, whole

# For the contactors after PowerDelivery Stop. Cars of -20 and DIN wait 2 s for the response, those of -2 5 s (the
# package's timeouts); half a second is left for the way.
OPEN_WAIT_S = 1.5
_DIN_PMAX_W = 32_767  # DIN 70121 gives PMax as a 16-bit integer of W
_DC_CONNECTOR = 2  # Extended (CCS): ISO 15118-20, table 206
_GRID_FOLLOWING, _UNIFIED_CHANNEL = 1, 1  # ISO 15118-20, GeneratorMode and BPTChannel
_MOST_ENTRIES = 1024  # of a schedule, by the schemas of ISO 15118-2 and -20
_NOTIFICATIONS = {
    "pause": ct.EVSENotification.PAUSE,
    "schedule": ct.EVSENotification.SCHEDULE_RENEGOTIATION,
    "services": ct.EVSENotification.SERVICE_RENEGOTIATION,
}
_AUTHORIZATION = {
    "ongoing": AuthorizationStatus.ONGOING,
    "accepted": AuthorizationStatus.ACCEPTED,
    "rejected": AuthorizationStatus.REJECTED,
}
_CABLE_CHECK = {"passed": IsolationLevel.VALID, "failed": IsolationLevel.FAULT}


def rational(value: float, *, down: bool = False) -> Any:
    """A number of ISO 15118-20."""
    exponent, mantissa = decimal(value, down=down)
    return ct.RationalNumber(exponent=exponent, value=mantissa)


def physical(kind: Any, unit: str, value: float, *, down: bool = False) -> Any:
    """A number of ISO 15118-2 or DIN 70121 as the model `kind`."""
    exponent, mantissa = decimal(value, down=down)
    return kind(multiplier=exponent, value=mantissa, unit=unit)


class MirrorController(EVSEControllerInterface):
    """evse_id: as printed on the charger, e.g. `DE*QUA*E1`. dynamic_first: which control mode is offered first; many
    cars take the first one. bidirectional: whether the service DC_BPT is offered."""

    def __init__(self, mirror: Mirror, evse_id: str, *, dynamic_first: bool, bidirectional: bool) -> None:
        super().__init__()
        self._mirror = mirror
        self._evse_id = evse_id
        self._dynamic_first = dynamic_first
        self._bidirectional = bidirectional
        self.ready = False
        self.new_session()

    @property
    def _now(self) -> ChargerState:
        return self._mirror.charger

    def new_session(self) -> None:
        """Contexts of their own for every session: the package shares its defaults between all of them."""
        self._scheduled = False  # control mode of -20
        self.ev_data_context = EVDataContext(
            rated_limits=EVRatedLimits(dc_limits=EVDCCPDLimits()),
            session_limits=EVSessionLimits(dc_limits=EVDCCLLimits()),
        )
        self.evse_data_context = EVSEDataContext(
            rated_limits=EVSERatedLimits(dc_limits=EVSEDCCPDLimits()),
            session_limits=EVSESessionLimits(dc_limits=EVSEDCCLLimits()),
        )
        self.evse_data_context.current_type = CurrentType.DC

    def reset_ev_data_context(self) -> None:
        self.new_session()

    # ---------------------------------------------------------------------------------------------------- life cycle
    async def set_status(self, status: ServiceStatus) -> None:
        self.ready = status is ServiceStatus.READY

    async def set_present_protocol_state(self, state: Any) -> None:
        """Nothing: the phase comes from the car's own messages."""

    async def set_hlc_charging(self, is_ongoing: bool) -> None:
        if not is_ongoing:
            self._mirror.stopping()

    async def stop_charger(self) -> None:
        self._mirror.stopping()

    async def update_data_link(self, action: Any) -> None:
        """The modem's business."""

    async def session_ended(self, current_state: str, reason: str) -> None:
        self._mirror.ended(current_state, reason)

    async def send_display_params(self) -> None:
        """Nothing: what the car displays was read from its message."""

    async def send_rated_limits(self) -> None:
        """Nothing: the limits were read from the message."""

    # -------------------------------------------------------------------------------------- identity, authorisation
    async def get_evse_id(self, protocol: Protocol) -> str:
        if protocol == Protocol.DIN_SPEC_70121:  # DIN SPEC 91286: digits, and A for the asterisk
            return "49A89A" + "".join(c for c in self._evse_id if c.isdigit()).rjust(4, "0")[-4:]
        return self._evse_id

    def is_eim_authorized(self) -> bool:
        return self._now.authorization == "accepted"

    async def is_authorized(self, *args: Any, **kwargs: Any) -> AuthorizationResponse:
        return AuthorizationResponse(_AUTHORIZATION[self._now.authorization])

    async def get_supported_providers(self) -> None:
        return None

    def ready_to_charge(self) -> bool:
        """Asked after `get_schedule_exchange_params`, in the same message. A car in control mode Dynamic gets no
        schedule, so it need not wait for one."""
        now = self._now
        return now.ready and not (now.planning and self._scheduled)

    async def get_cp_state(self) -> CpState:
        now = self._now
        return CpState.C2 if now.state_c else CpState.B2 if now.plugged else CpState.A1

    async def service_renegotiation_supported(self) -> bool:
        """The car may choose its services anew, with its contactors open."""
        return True

    @property
    def paused(self) -> bool:
        """The car's last word was that it pauses."""
        return self._mirror.car.phase == "pause"

    @property
    def replans(self) -> bool:
        """The car's last word was that it leaves the loop for a new schedule."""
        return self._mirror.car.replans

    # ---------------------------------------------------------------------------------------------- services, -20
    async def get_energy_service_list(self) -> Any:
        both = self._bidirectional and not self._now.charge_only
        self._mirror.offered(both)
        services = [ServiceV20.DC_BPT, ServiceV20.DC] if both else [ServiceV20.DC]
        return cm.ServiceList(services=[cm.Service(service_id=s.id, free_service=False) for s in services])

    async def get_service_parameter_list(self, service_id: int) -> Any:
        # Control mode and who knows the mobility needs (1 the car, 2 the charger: only with Dynamic, V2G20-2663).
        modes = [(ControlMode.DYNAMIC, 1), (ControlMode.SCHEDULED, 1)]
        if not self._dynamic_first:
            modes.reverse()
        sets = []
        for number, (mode, needs) in enumerate(modes, 1):
            values = {
                "Connector": _DC_CONNECTOR,
                "ControlMode": int(mode.value),
                "MobilityNeedsMode": needs,
                "Pricing": 0,
            }
            if service_id == ServiceV20.DC_BPT.id:
                values |= {"BPTChannel": _UNIFIED_CHANNEL, "GeneratorMode": _GRID_FOLLOWING}
            parameters = [cm.Parameter(name=name, int_value=value) for name, value in values.items()]
            sets.append(cm.ParameterSet(id=number, parameters=parameters))
        return cm.ServiceParameterList(parameter_sets=sets)

    async def get_dc_charge_params_v20(self, energy_service: ServiceV20) -> Any:
        now = self._now
        zero = rational(0.0)
        common = {
            "evse_max_charge_power": rational(now.rated_charge_w, down=True),
            "evse_min_charge_power": zero,
            "evse_max_charge_current": rational(now.rated_charge_a, down=True),
            "evse_min_charge_current": zero,
            "evse_max_voltage": rational(now.max_v, down=True),
            "evse_min_voltage": rational(now.min_v),
        }
        if energy_service == ServiceV20.DC:
            return dc20.DCChargeParameterDiscoveryResParams(**common)
        return dc20.BPTDCChargeParameterDiscoveryResParams(
            **common,
            evse_max_discharge_power=rational(now.rated_discharge_w, down=True),
            evse_min_discharge_power=zero,
            evse_max_discharge_current=rational(now.rated_discharge_a, down=True),
            evse_min_discharge_current=zero,
        )

    def _plan(self, most: int | None) -> list[tuple[int, float, float]]:
        """What the car that negotiates is told, in `most` parts at most."""
        now = self._now
        self._mirror.told(now.plan_no)
        return whole(now.plan, min(most or _MOST_ENTRIES, _MOST_ENTRIES), now.rated_charge_w, now.rated_discharge_w)

    async def get_schedule_exchange_params(self, service: Any, control_mode: ControlMode, request: Any) -> Any:
        self._scheduled = control_mode == ControlMode.SCHEDULED
        if not self._scheduled:
            return cm.DynamicScheduleExchangeResParams()
        parts = self._plan(request.max_supporting_points)
        anchor_s = int(time.time())

        def schedule(powers_w: list[float]) -> Any:
            entries = [
                cm.PowerScheduleEntry(duration=duration_s, power=rational(power_w, down=True))
                for duration_s, power_w in zip(durations(parts), powers_w, strict=True)
            ]
            return cm.PowerSchedule(
                time_anchor=anchor_s, schedule_entry_list=cm.PowerScheduleEntryList(entries=entries)
            )

        discharging = None
        if service.service == ServiceV20.DC_BPT:
            discharging = cm.DischargingSchedule(power_schedule=schedule([down_w for _, _, down_w in parts]))
        return cm.ScheduledScheduleExchangeResParams(
            schedule_tuples=[
                cm.ScheduleTuple(
                    schedule_tuple_id=1,
                    charging_schedule=cm.ChargingSchedule(power_schedule=schedule([up_w for _, up_w, _ in parts])),
                    discharging_schedule=discharging,
                )
            ]
        )

    async def get_dc_charge_loop_params_v20(self, control_mode: ControlMode, selected_service: ServiceV20) -> Any:
        now = self._now
        values = {
            "evse_maximum_charge_power": rational(now.charge_max_w, down=True),
            "evse_minimum_charge_power": rational(0.0),
            "evse_maximum_charge_current": rational(now.charge_max_a, down=True),
            "evse_maximum_voltage": rational(now.max_v, down=True),
        }
        bpt = selected_service == ServiceV20.DC_BPT
        if bpt:
            values |= {
                "evse_max_discharge_power": rational(now.discharge_max_w, down=True),
                "evse_min_discharge_power": rational(0.0),
                "evse_max_discharge_current": rational(now.discharge_max_a, down=True),
                "evse_min_voltage": rational(now.min_v),
            }
        if control_mode == ControlMode.SCHEDULED:
            return (dc20.BPTScheduledDCChargeLoopResParams if bpt else dc20.ScheduledDCChargeLoopResParams)(**values)
        return (dc20.BPTDynamicDCChargeLoopRes if bpt else dc20.DynamicDCChargeLoopRes)(**values)

    async def get_evse_status(self) -> Any:
        now = self._now
        notification = ct.EVSENotification.TERMINATE if now.stop else _NOTIFICATIONS.get(now.ask)
        if notification is None:
            return None
        return ct.EVSEStatus(notification_max_delay=0, evse_notification=notification)

    async def get_meter_info_v20(self) -> Any:
        now = self._now
        return ct.MeterInfo(
            meter_id="quadrant",
            charged_energy_reading_wh=int(now.charged_wh),
            bpt_discharged_energy_reading_wh=int(now.discharged_wh),
            meter_timestamp=int(time.time()),
        )

    # ----------------------------------------------------------------------------------------- ISO 15118-2 and DIN
    async def get_supported_energy_transfer_modes(self, protocol: Protocol) -> Any:
        return [EnergyTransferModeEnum.DC_EXTENDED]

    async def get_dc_evse_status(self) -> Any:
        now = self._now
        code = dt2.DCEVSEStatusCode
        isolation = _CABLE_CHECK.get(now.cable_check, IsolationLevel.INVALID)
        if now.emergency:
            status = code.EVSE_EMERGENCY_SHUTDOWN
        elif now.stop:
            status = code.EVSE_SHUTDOWN
        elif now.cable_check == "running":
            status = code.EVSE_ISOLATION_MONITORING_ACTIVE
        else:
            status = code.EVSE_READY
        notification = dt2.EVSENotification.STOP_CHARGING if now.stop else dt2.EVSENotification.NONE
        car = self._mirror.car
        if not now.stop and now.ask == "schedule" and (car.protocol, car.message) == ("iso2", "CurrentDemandReq"):
            notification = dt2.EVSENotification.RE_NEGOTIATION
        return dt2.DCEVSEStatus(
            evse_notification=notification,
            notification_max_delay=0,
            evse_isolation_status=isolation,
            evse_status_code=status,
        )

    async def get_dc_charge_parameters(self) -> Any:
        now = self._now
        return dt2.DCEVSEChargeParameter(
            dc_evse_status=await self.get_dc_evse_status(),
            evse_maximum_power_limit=physical(dt2.PVEVSEMaxPowerLimit, "W", now.rated_charge_w, down=True),
            evse_maximum_current_limit=physical(dt2.PVEVSEMaxCurrentLimit, "A", now.rated_charge_a, down=True),
            evse_maximum_voltage_limit=physical(dt2.PVEVSEMaxVoltageLimit, "V", now.max_v, down=True),
            evse_minimum_current_limit=physical(dt2.PVEVSEMinCurrentLimit, "A", 0.0),
            evse_minimum_voltage_limit=physical(dt2.PVEVSEMinVoltageLimit, "V", now.min_v),
            evse_peak_current_ripple=physical(dt2.PVEVSEPeakCurrentRipple, "A", 5.0),
        )

    async def get_sa_schedule_list(self, ev: Any, free: bool, most: int | None, *args: Any, **kwargs: Any) -> Any:
        if self._now.planning:
            return []  # the package then says Ongoing, and the car asks again
        parts = self._plan(most)
        ends = [None] * (len(parts) - 1) + [SPAN_S - parts[-1][0]]
        entries = [
            iso2.PMaxScheduleEntry(
                p_max=physical(iso2.PVPMax, "W", up_w, down=True),
                time_interval=iso2.RelativeTimeInterval(start=start_s, duration=end_s),
            )
            for (start_s, up_w, _), end_s in zip(parts, ends, strict=True)
        ]
        return [
            iso2.SAScheduleTuple(sa_schedule_tuple_id=1, p_max_schedule=iso2.PMaxSchedule(schedule_entries=entries))
        ]

    async def get_sa_schedule_list_dinspec(self, *args: Any, **kwargs: Any) -> Any:
        details = din.PMaxScheduleEntryDetails(
            p_max=min(int(self._now.rated_charge_w), _DIN_PMAX_W),
            time_interval=din.RelativeTimeInterval(start=0, duration=SPAN_S),
        )
        schedule = din.PMaxScheduleEntry(p_max_schedule_id=1, entry_details=[details])
        return [din.SAScheduleTupleEntry(sa_schedule_tuple_id=1, p_max_schedule=schedule)]

    # In these protocols a discharge limit would be told as a negative maximum (default of the package): never.
    async def get_evse_max_voltage_limit(self) -> Any:
        return physical(dt2.PVEVSEMaxVoltageLimit, "V", self._now.max_v, down=True)

    async def get_evse_max_current_limit(self) -> Any:
        return physical(dt2.PVEVSEMaxCurrentLimit, "A", self._now.charge_max_a, down=True)

    async def get_evse_max_power_limit(self) -> Any:
        return physical(dt2.PVEVSEMaxPowerLimit, "W", self._now.charge_max_w, down=True)

    # -------------------------------------------------------------------------------------------------- DC, all
    async def start_cable_check(self) -> None:
        """Nothing: the phase `insulation` has been passed on with the message."""

    async def get_cable_check_status(self) -> Any:
        now = self._now
        return IsolationLevel.FAULT if now.stop else _CABLE_CHECK.get(now.cable_check)

    async def is_contactor_closed(self) -> bool | None:
        """In CableCheck None means "wait", in PowerDelivery it means "failed": so it is only said in the former."""
        now = self._now
        if now.contactors == "closed":
            return True
        in_cable_check = self._mirror.car.phase == "insulation"
        return None if in_cable_check and not now.stop and now.cable_check != "failed" else False

    async def is_contactor_opened(self) -> bool:
        return await self._mirror.opened(OPEN_WAIT_S)

    async def get_evse_present_voltage(self, protocol: Protocol) -> Any:
        volts = max(0.0, self._now.present_v)
        if protocol in (Protocol.DIN_SPEC_70121, Protocol.ISO_15118_2):
            return physical(dt2.PVEVSEPresentVoltage, "V", volts)
        return rational(volts)

    async def get_evse_present_current(self, protocol: Protocol) -> Any:
        amps = self._now.present_a
        if protocol in (Protocol.DIN_SPEC_70121, Protocol.ISO_15118_2):
            return physical(dt2.PVEVSEPresentCurrent, "A", amps)
        return rational(amps)

    async def send_charging_command(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the target was read from the message. Its flags are wrong in the charge loop of -20."""

    async def is_evse_current_limit_achieved(self) -> bool:
        now = self._now
        return bool(now.charge_max_a) and now.present_a >= now.charge_max_a - 0.5

    async def is_evse_voltage_limit_achieved(self) -> bool:
        now = self._now
        return bool(now.max_v) and now.present_v >= now.max_v - 1.0

    async def is_evse_power_limit_achieved(self) -> bool:
        now = self._now
        return bool(now.charge_max_w) and now.present_v * now.present_a >= 0.99 * now.charge_max_w

    # --------------------------------------------------------------------------------- what a DC charger has not
    async def get_ac_evse_status(self) -> Any:
        raise NotImplementedError("a DC charger has no AC status")

    async def get_ac_charge_params_v2(self) -> Any:
        raise NotImplementedError("a DC charger has no AC parameters")

    async def get_ac_charge_params_v20(self, energy_service: ServiceV20) -> Any:
        raise NotImplementedError("a DC charger has no AC parameters")

    async def get_meter_info_v2(self) -> Any:
        raise NotImplementedError("the package never sends it")

    async def get_15118_ev_certificate(self, *args: Any) -> str:
        raise NotImplementedError("Plug & Charge is not offered")
