"""The package's communication session with what it lacks: an answer to whatever goes wrong, pause and resumption, no
waiting for a car that has gone; and its PowerDelivery, of -2 with a right look at the car's profile, of -20 with a new
schedule in the middle of a session. Names of 0.31.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from iso15118.secc import comm_session_handler
from iso15118.secc.controller.ev_data import EVSessionContext15118
from iso15118.secc.states import iso15118_2_states, iso15118_20_states
from iso15118.shared.messages.din_spec.datatypes import ResponseCode as CodeDin
from iso15118.shared.messages.enums import ISOV20PayloadTypes, Namespace, Protocol, SessionStopAction
from iso15118.shared.messages.iso15118_2.datatypes import ChargeProgress as Progress2
from iso15118.shared.messages.iso15118_2.datatypes import ResponseCode as Code2
from iso15118.shared.messages.iso15118_20.common_messages import ChargeProgress, PowerDeliveryReq, PowerDeliveryRes
from iso15118.shared.messages.iso15118_20.common_types import MessageHeader
from iso15118.shared.messages.iso15118_20.common_types import ResponseCode as Code20
from iso15118.shared.messages.iso15118_20.timeouts import Timeouts

from firmware.bridges.secc.plan import within

LINK_S, CONNECTION_S = 2.0, 5.0  # the package's own times after the last message; V2G20-1633 asks for the latter
_CLOSING_S, _POLL_S = 1.0, 0.02
_log = logging.getLogger(__name__)


class Session(comm_session_handler.SECCCommunicationSession):
    """One connection of one car."""

    decoded = ""  # name of the request that is being processed; one connection at a time

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A car that paused may come back under its session's number: -2 looks into the context, which the handler
        # keeps, -20 at this attribute, which nobody sets.
        context: Any = vars(self)["ev_session_context"]  # the package is without types
        self.session_id = context.session_id or ""

    @property
    def _paused(self) -> bool:
        """The package takes every end of -20 that is not `Terminate` for a pause; the car's own word counts."""
        return bool(self.evse_controller.paused)

    # ---------------------------------------------------------------------------------------------- what goes wrong
    async def process_message(self, message: bytes) -> None:
        """As the package does; but whatever goes wrong with a request that could be decoded is answered with FAILED.
        The package ends the session without a word then, and the car waits for its timeout."""
        Session.decoded = ""
        try:
            await super().process_message(message)
        except Exception as error:  # in a callback, in a model, in a state: a car waits for an answer
            _log.exception("refused")
            if not self._refuse(f"{type(error).__name__} in {self.current_state}: {error}"):
                raise

    def _refuse(self, reason: str) -> bool:
        """Answer the request that was decoded last; False when nobody knows which one it was."""
        tables = {
            Protocol.ISO_15118_2: (self.failed_responses_isov2, Code2.FAILED, Namespace.ISO_V2_MSG_DEF),
            Protocol.DIN_SPEC_70121: (self.failed_responses_din_spec, CodeDin.FAILED, Namespace.DIN_MSG_DEF),
        }
        others = (self.failed_responses_isov20, Code20.FAILED, Namespace.ISO_V20_COMMON_MSG)
        table, code, namespace = tables.get(self.protocol, others)
        name = Session.decoded.replace("_", "")
        request = next((kind for kind in table if kind.__name__.replace("_", "") == name), None)
        if request is None:
            return False
        try:
            self.current_state.stop_state_machine(reason, None, code, message_body_type=request, namespace=namespace)
        except Exception:  # its prepared answer is itself not what the schema wants
            _log.exception("no answer")
            return False
        return True

    # ------------------------------------------------------------------------------------------------------ the end
    async def stop(self, reason: str) -> None:
        """The package tells the end of a session after 2 s and closes the connection after 5 s, whatever the car does,
        and serves nobody meanwhile: a driver who plugs in again would wait. The time is for a car that still reads an
        answer; one that has closed its end is not waited for."""
        await self.evse_controller.stop_charger()
        action = SessionStopAction.PAUSE if self._paused else SessionStopAction.TERMINATE
        if self._paused:
            self.save_session_info()
        if self.stop_reason is not None:
            self.stop_reason.stop_action = action
        await self._closed(LINK_S)
        await self.evse_controller.update_data_link(action)
        await self.evse_controller.session_ended(str(self.current_state), reason)
        await self._closed(CONNECTION_S - LINK_S)
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self.writer.wait_closed()

    def save_session_info(self) -> None:
        """What a paused session is known by. In -2 the context has more (authorisation, schedule) and stays."""
        if self.protocol not in (Protocol.ISO_15118_2, Protocol.DIN_SPEC_70121):
            self.ev_session_context = EVSessionContext15118(session_id=self.session_id)

    async def _closed(self, within_s: float) -> None:
        """Returns when the car has closed its end, at the latest after `within_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while not self.reader.at_eof() and loop.time() < until:
            await asyncio.sleep(_POLL_S)


class PowerDelivery2(iso15118_2_states.PowerDelivery):
    """Ends no car that takes more power later, as its schedule says it may (see `plan.within`). A car that leaves the
    loop to negotiate anew gets its answer when the charger's contactors are open, as one that stops does: the package
    answers at once, and the car would open its own under load."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        request = getattr(getattr(message, "body", None), "power_delivery_req", None)
        anew = request is not None and request.charge_progress is Progress2.RENEGOTIATE
        controller = self.comm_session.evse_controller
        if anew and self.comm_session.charge_progress_started and not await controller.is_contactor_opened():
            self.stop_state_machine("Contactor didn't open", message, Code2.FAILED_CONTACTOR_ERROR)
            return
        await super().process_message(message, message_exi)

    def _is_charging_profile_valid(self, request: Any) -> bool:
        offered = self.comm_session.offered_schedules
        chosen = next(s for s in offered if s.sa_schedule_tuple_id == request.sa_schedule_tuple_id)
        return within(
            [(e.start, _watts(e.max_power)) for e in request.charging_profile.profile_entries],
            [(e.time_interval.start, _watts(e.p_max)) for e in chosen.p_max_schedule.schedule_entries],
        )


def _watts(value: Any) -> float:
    return float(value.value * 10.0**value.multiplier)


class PowerDelivery20(iso15118_20_states.PowerDelivery):
    """A car in the loop may ask for a new schedule: the next message is its ScheduleExchangeReq, with the contactors
    closed. The package says OK and then waits for the next message of the loop, and would end the car with a sequence
    error. Outside of the loop there is nothing to plan anew."""

    async def process_message(self, message: Any, message_exi: bytes | None = None) -> None:
        if isinstance(message, PowerDeliveryReq) and message.charge_progress == ChargeProgress.SCHEDULE_RENEGOTIATION:
            if not self.comm_session.evse_controller.replans:
                self.stop_state_machine("no charge loop to leave for a new schedule", message, Code20.FAILED)
                return
            header = MessageHeader(session_id=self.comm_session.session_id, timestamp=time.time())
            self.create_next_message(
                iso15118_20_states.ScheduleExchange,
                PowerDeliveryRes(header=header, response_code=Code20.OK),
                Timeouts.V2G_SECC_SEQUENCE_TIMEOUT,
                Namespace.ISO_V20_COMMON_MSG,
                ISOV20PayloadTypes.MAINSTREAM,
            )
            return
        await super().process_message(message, message_exi)
