"""What the package's EV does not do when its charger asks: a new schedule, other services, a pause; and its own plan.

The package's EV ends its session at every request of the loop that it does not know, and says no profile in -2.
Replacements for states of iso15118 0.31.2; `install` puts them in. Runs only in the SECC's own environment.
"""

from __future__ import annotations

import time
from typing import Any

from iso15118.evcc.states import iso15118_2_states as v2
from iso15118.evcc.states import iso15118_20_states as v20
from iso15118.shared.messages.datatypes import EVSENotification as Notification2
from iso15118.shared.messages.enums import ControlMode, ISOV20PayloadTypes, Namespace
from iso15118.shared.messages.iso15118_2.body import PowerDeliveryReq as PowerDeliveryReq2
from iso15118.shared.messages.iso15118_2.datatypes import ChargeProgress as Progress2
from iso15118.shared.messages.iso15118_20.common_messages import (
    ChargeProgress,
    ChargingSession,
    PowerDeliveryReq,
    ScheduleExchangeReq,
    ServiceDiscoveryReq,
    SessionStopReq,
)
from iso15118.shared.messages.iso15118_20.common_types import EVSENotification, MessageHeader, Processing
from iso15118.shared.messages.iso15118_20.timeouts import Timeouts as Times20

from firmware.bridges.secc.engine import replace

SUPPORTING_POINTS = 1024  # what the package's own ScheduleExchangeReq says


class CurrentDemand2(v2.CurrentDemand):
    """Negotiates its parameters anew when it is asked to."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        body = getattr(message, "body", None)
        answer = getattr(body, "current_demand_res", None)
        asked = answer is not None and answer.dc_evse_status.evse_notification is Notification2.RE_NEGOTIATION
        if not asked or self.comm_session.ev_controller.wishes.stop or not self.check_msg_v2(message, type(answer)):
            await super().process_message(message, message_exi)
            return
        session = self.comm_session
        session.renegotiation_requested = True
        self.create_next_message(
            v2.PowerDelivery,
            PowerDeliveryReq2(
                charge_progress=Progress2.RENEGOTIATE,
                sa_schedule_tuple_id=session.selected_schedule,
                dc_ev_power_delivery_parameter=await session.ev_controller.get_dc_ev_power_delivery_parameter(),
            ),
            v2.Timeouts.POWER_DELIVERY_REQ,
            Namespace.ISO_V2_MSG_DEF,
        )


class PreCharge2(v2.PreCharge):
    """Says what the car means to take of the schedule that it chose; the package's one keeps that to itself."""

    def create_next_message(self, next_state: Any, next_msg: Any, *more: Any, **others: Any) -> None:
        profile = self.comm_session.ev_controller.profile
        if isinstance(next_msg, PowerDeliveryReq2) and next_msg.charge_progress is Progress2.START:
            next_msg = next_msg.copy(update={"charging_profile": profile})
        super().create_next_message(next_state, next_msg, *more, **others)


class PowerDelivery2(v2.PowerDelivery):
    """Opens its contactors for the new cable check, when the charger says that its own are open."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        if self.comm_session.renegotiation_requested and not self.comm_session.charging_session_stop_v2:
            self.comm_session.ev_controller.open()
        await super().process_message(message, message_exi)


class DCChargeLoop20(v20.DCChargeLoop):
    """Asks for a new schedule in its session, or ends it to pause, when it is asked to."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        status = getattr(message, "evse_status", None)
        asked = None if status is None else status.evse_notification
        session = self.comm_session
        if asked is EVSENotification.SCHEDULE_RENEGOTIATION and not session.ev_controller.wishes.stop:
            session.renegotiation_requested = True
            self.create_next_message(
                v20.PowerDelivery,
                PowerDeliveryReq(
                    header=_header(session),
                    ev_processing=Processing.FINISHED,
                    charge_progress=ChargeProgress.SCHEDULE_RENEGOTIATION,
                ),
                Times20.POWER_DELIVERY_REQ,
                Namespace.ISO_V20_COMMON_MSG,
                ISOV20PayloadTypes.MAINSTREAM,
            )
        elif asked is EVSENotification.PAUSE:
            session.ev_controller.wishes.pause = True  # the codec of the car turns its Terminate into that
            self.stop_v20_charging(next_state=v20.PowerDelivery)
        else:
            await super().process_message(message, message_exi)


class PowerDelivery20(v20.PowerDelivery):
    """After its request for a new schedule the car asks for that, its contactors closed."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        session = self.comm_session
        ends = session.charging_session_stop_v20 is not None
        if ends or not session.renegotiation_requested:
            await super().process_message(message, message_exi)
            return
        if not self.check_msg_v20(message, v20.PowerDeliveryRes):
            return
        controller, service = session.ev_controller, session.selected_energy_service
        scheduled = dynamic = None
        if session.control_mode == ControlMode.SCHEDULED:
            scheduled = await controller.get_scheduled_se_params(service)
        else:
            dynamic = await controller.get_dynamic_se_params(service)
        request = ScheduleExchangeReq(
            header=_header(session),
            max_supporting_points=SUPPORTING_POINTS,
            scheduled_params=scheduled,
            dynamic_params=dynamic,
        )
        session.ongoing_schedule_exchange_req = request
        self.create_next_message(
            v20.ScheduleExchange,
            request,
            Times20.SCHEDULE_EXCHANGE_REQ,
            Namespace.ISO_V20_COMMON_MSG,
            ISOV20PayloadTypes.MAINSTREAM,
        )


class ScheduleExchange20(v20.ScheduleExchange):
    """With its new schedule the car goes straight back into the loop; the package's one begins with a cable check."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        session = self.comm_session
        done = getattr(message, "evse_processing", None) is Processing.FINISHED
        if not (session.renegotiation_requested and done and self.check_msg_v20(message, v20.ScheduleExchangeRes)):
            await super().process_message(message, message_exi)
            return
        session.renegotiation_requested = False
        session.schedule_exchange_res = message
        request = await v20.DCPreCharge.build_power_delivery_req(self)
        self.create_next_message(
            v20.PowerDelivery,
            request,
            Times20.POWER_DELIVERY_REQ,
            Namespace.ISO_V20_COMMON_MSG,
            ISOV20PayloadTypes.MAINSTREAM,
        )


class DCWeldingDetection20(v20.DCWeldingDetection):
    """Ends its session as it was asked to: the package's one always terminates."""

    def create_next_message(self, next_state: Any, next_msg: Any, *more: Any, **others: Any) -> None:
        stop = self.comm_session.charging_session_stop_v20
        if isinstance(next_msg, SessionStopReq) and stop is not None:
            next_msg = next_msg.copy(update={"charging_session": stop})
        super().create_next_message(next_state, next_msg, *more, **others)


class SessionStop20(v20.SessionStop):
    """After a session that goes on with other services the car asks for those; the package's one says nothing then."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        session = self.comm_session
        if session.charging_session_stop_v20 is not ChargingSession.SERVICE_RENEGOTIATION:
            await super().process_message(message, message_exi)
            return
        if not self.check_msg_v20(message, v20.SessionStopRes):
            return
        session.renegotiation_requested = False
        session.charging_session_stop_v20 = None
        session.matched_services_v20.clear()
        session.service_details_to_request.clear()
        session.ev_controller.welding_detection_cycles = 0
        self.create_next_message(
            v20.ServiceDiscovery,
            ServiceDiscoveryReq(header=_header(session)),
            Times20.SERVICE_DISCOVERY_REQ,
            Namespace.ISO_V20_COMMON_MSG,
            ISOV20PayloadTypes.MAINSTREAM,
        )


def _header(session: Any) -> Any:
    return MessageHeader(session_id=session.session_id, timestamp=time.time())


def install() -> None:
    """Raises EngineError where the package has other names."""
    replace(v2, "PreCharge", PreCharge2)
    replace(v2, "CurrentDemand", CurrentDemand2)
    replace(v2, "PowerDelivery", PowerDelivery2)
    PowerDelivery20.__name__ = "PowerDelivery"  # by this name the package knows its states
    replace(v20, "DCChargeLoop", DCChargeLoop20)
    replace(v20, "PowerDelivery", PowerDelivery20)
    replace(v20, "ScheduleExchange", ScheduleExchange20)
    replace(v20, "DCWeldingDetection", DCWeldingDetection20)
    replace(v20, "SessionStop", SessionStop20)
