"""The package's EV with a battery: its simulated controller made honest. Runs only in the SECC's own environment.

The package's own one commands 200 A at 20 kV and stops after ten messages. Here every number comes from the car
(hil/ev/body.py) and its driver's wishes.
"""

from __future__ import annotations

from typing import Any

from iso15118.evcc.controller.simulator import SimEVController
from iso15118.evcc.evcc_config import EVCCConfig
from iso15118.shared.messages import datatypes as dt2
from iso15118.shared.messages.din_spec import datatypes as din
from iso15118.shared.messages.enums import ControlMode, DCEVErrorCode, ServiceV20
from iso15118.shared.messages.iso15118_2 import datatypes as iso2
from iso15118.shared.messages.iso15118_20 import common_messages as cm
from iso15118.shared.messages.iso15118_20 import common_types as ct
from iso15118.shared.messages.iso15118_20 import dc as dc20

from firmware.bridges.secc.decimals import decimal
from hil.ev.body import V_MAX_V, V_MIN_V, Body, Wishes

PRECHARGE_WINDOW_V = 20.0  # the car closes its contactors inside it: IEC 61851-23, as in hil/devices/car.py
PRECHARGE_A = 1.0  # below the 2 A that ISO 15118-2 permits in precharge
WELDING_ROUNDS = 3
PROFILE_ENTRIES = 24  # the most that a car of ISO 15118-2 can say, by its schema


def rational(value: float) -> Any:
    exponent, mantissa = decimal(value)
    return ct.RationalNumber(exponent=exponent, value=mantissa)


def physical(kind: Any, unit: str, value: float) -> Any:
    exponent, mantissa = decimal(value)
    return kind(multiplier=exponent, value=mantissa, unit=unit)


class RigEv(SimEVController):
    """dynamic: which control mode of -20 the car selects among those offered."""

    def __init__(self, config: EVCCConfig, body: Body, wishes: Wishes, *, dynamic: bool, bidirectional: bool) -> None:
        super().__init__(config)
        self.body = body
        self.wishes = wishes
        self.charging = False  # in the charge loop
        self._mode = ControlMode.DYNAMIC if dynamic else ControlMode.SCHEDULED
        self._service = ServiceV20.DC_BPT if bidirectional else ServiceV20.DC
        self._stopped = False
        self.profile: Any = None  # what it means to take of the schedule that it chose; ISO 15118-2

    # -------------------------------------------------------------------------------------------------- its battery
    @property
    def _soc_pct(self) -> int:
        return int(self.body.soc * 100.0)

    def _charge_a(self) -> float:
        return self.wishes.charge_max_a if self.body.soc < self.wishes.soc_target else 0.0

    def _discharge_a(self) -> float:
        return self.wishes.discharge_max_a if self.body.soc > self.wishes.soc_min else 0.0

    def _energy_wh(self, soc: float) -> float:
        return (soc - self.body.soc) * self.body.capacity_wh

    # -------------------------------------------------------------------------------------------------- the session
    async def select_energy_service_v20(self, services: list[Any]) -> Any:
        chosen = next((s for s in services if s.service == self._service), services[0])
        parameter_set = chosen.parameter_sets[0]
        for candidate in chosen.parameter_sets:
            for parameter in candidate.parameters:
                if parameter.name == "ControlMode" and parameter.int_value == self._mode.value:
                    parameter_set = candidate
        return cm.SelectedEnergyService(service=chosen.service, is_free=chosen.is_free, parameter_set=parameter_set)

    async def continue_charging(self) -> bool:
        return not (self._stopped or self.wishes.stop)

    async def stop_charging(self) -> None:
        self._stopped = True

    async def is_charging_complete(self) -> bool:
        return self.body.soc >= self.wishes.soc_target

    async def ready_to_charge(self) -> bool:
        return await self.continue_charging()

    async def enable_charging(self, enabled: bool) -> None:
        if not enabled:
            self.open()

    def open(self) -> None:
        self.charging = False
        self.body.contactors(False)

    async def is_precharged(self, present_voltage_evse: Any) -> bool:
        near = abs(float(present_voltage_evse.get_decimal_value()) - self.body.battery_v) < PRECHARGE_WINDOW_V
        if near:
            self.body.contactors(True)
            self.charging = True
        return near

    async def welding_detection_has_finished(self) -> bool:
        self.welding_detection_cycles += 1
        return bool(self.welding_detection_cycles >= WELDING_ROUNDS)

    async def get_present_voltage(self) -> Any:
        return rational(self.body.battery_v)

    async def get_target_voltage(self) -> Any:
        return rational(self.body.battery_v)

    async def get_display_params(self) -> Any:
        return ct.DisplayParameters(
            present_soc=self._soc_pct,
            min_soc=int(self.wishes.soc_min * 100.0),
            target_soc=int(self.wishes.soc_target * 100.0),
            charging_complete=await self.is_charging_complete(),
            battery_energy_capacity=rational(self.body.capacity_wh),
        )

    async def process_sa_schedules_v2(self, sa_schedules: list[Any]) -> Any:
        """It takes all that it is given, from the first schedule."""
        progress, chosen, profile = await super().process_sa_schedules_v2(sa_schedules[:1])
        self.profile = profile.copy(update={"profile_entries": profile.profile_entries[:PROFILE_ENTRIES]})
        return progress, chosen, self.profile

    # -------------------------------------------------------------------------------------------------------- -20
    async def get_charge_params_v20(self, selected_service: Any) -> Any:
        wishes = self.wishes
        zero = rational(0.0)
        common = {
            "ev_max_charge_power": rational(wishes.power_max_w),
            "ev_min_charge_power": zero,
            "ev_max_charge_current": rational(wishes.charge_max_a),
            "ev_min_charge_current": zero,
            "ev_max_voltage": rational(V_MAX_V),
            "ev_min_voltage": rational(V_MIN_V),
        }
        if selected_service.service == ServiceV20.DC:
            return dc20.DCChargeParameterDiscoveryReqParams(**common)
        return dc20.BPTDCChargeParameterDiscoveryReqParams(
            **common,
            ev_max_discharge_power=rational(wishes.power_max_w),
            ev_min_discharge_power=zero,
            ev_max_discharge_current=rational(wishes.discharge_max_a),
            ev_min_discharge_current=zero,
        )

    async def get_scheduled_se_params(self, selected_energy_service: Any) -> Any:
        return cm.ScheduledScheduleExchangeReqParams(
            departure_time=self.wishes.departure_s,
            ev_target_energy_request=rational(self._energy_wh(self.wishes.soc_target)),
            ev_max_energy_request=rational(self._energy_wh(1.0)),
            ev_min_energy_request=rational(self._energy_wh(self.wishes.soc_min)),
        )

    async def get_dynamic_se_params(self, selected_energy_service: Any) -> Any:
        return cm.DynamicScheduleExchangeReqParams(
            departure_time=self.wishes.departure_s,
            min_soc=int(self.wishes.soc_min * 100.0),
            target_soc=int(self.wishes.soc_target * 100.0),
            ev_target_energy_request=rational(self._energy_wh(self.wishes.soc_target)),
            ev_max_energy_request=rational(self._energy_wh(1.0)),
            ev_min_energy_request=rational(self._energy_wh(self.wishes.soc_min)),
        )

    async def get_scheduled_dc_charge_loop_params(self) -> Any:
        return dc20.ScheduledDCChargeLoopReqParams(**self._scheduled())

    async def get_bpt_scheduled_dc_charge_loop_params(self) -> Any:
        return dc20.BPTScheduledDCChargeLoopReqParams(
            **self._scheduled(),
            ev_max_discharge_power=rational(self.wishes.power_max_w),
            ev_min_discharge_power=rational(0.0),
            ev_max_discharge_current=rational(self._discharge_a()),
        )

    async def get_dynamic_dc_charge_loop_params(self) -> Any:
        return dc20.DynamicDCChargeLoopReqParams(**self._dynamic())

    async def get_bpt_dynamic_dc_charge_loop_params(self) -> Any:
        return dc20.BPTDynamicDCChargeLoopReqParams(
            **self._dynamic(),
            ev_max_discharge_power=rational(self.wishes.power_max_w),
            ev_min_discharge_power=rational(0.0),
            ev_max_discharge_current=rational(self._discharge_a()),
        )

    def _scheduled(self) -> dict[str, Any]:
        target_a = min(self.wishes.target_a, self._charge_a())
        return {
            "ev_target_current": rational(max(target_a, -self._discharge_a())),
            "ev_target_voltage": rational(V_MAX_V),
            "ev_max_charge_power": rational(self.wishes.power_max_w),
            "ev_max_charge_current": rational(self._charge_a()),
        }

    def _dynamic(self) -> dict[str, Any]:
        return {
            "departure_time": self.wishes.departure_s,
            "ev_target_energy_request": rational(self._energy_wh(self.wishes.soc_target)),
            "ev_max_energy_request": rational(self._energy_wh(1.0)),
            "ev_min_energy_request": rational(self._energy_wh(self.wishes.soc_min)),
            "ev_max_charge_power": rational(self.wishes.power_max_w),
            "ev_min_charge_power": rational(0.0),
            "ev_max_charge_current": rational(self._charge_a()),
            "ev_max_voltage": rational(V_MAX_V),
            "ev_min_voltage": rational(V_MIN_V),
        }

    # ---------------------------------------------------------------------------------------- ISO 15118-2 and DIN
    async def get_dc_charge_params(self) -> Any:
        target_a = max(0.0, min(self.wishes.target_a, self._charge_a())) if self.charging else PRECHARGE_A
        return dt2.DCEVChargeParams(
            dc_max_current_limit=physical(dt2.PVEVMaxCurrentLimit, "A", self._charge_a()),
            dc_max_power_limit=physical(dt2.PVEVMaxPowerLimit, "W", self.wishes.power_max_w),
            dc_max_voltage_limit=physical(dt2.PVEVMaxVoltageLimit, "V", V_MAX_V),
            dc_energy_capacity=physical(dt2.PVEVEnergyCapacity, "Wh", self.body.capacity_wh),
            dc_target_current=physical(dt2.PVEVTargetCurrent, "A", target_a),
            dc_target_voltage=physical(dt2.PVEVTargetVoltage, "V", V_MAX_V if self.charging else self.body.battery_v),
        )

    async def get_charge_params_v2(self, protocol: Any) -> Any:
        self.dc_ev_charge_params = await self.get_dc_charge_params()
        return await super().get_charge_params_v2(protocol)

    async def get_dc_ev_status(self) -> Any:
        return iso2.DCEVStatus(ev_ready=True, ev_error_code=DCEVErrorCode.NO_ERROR, ev_ress_soc=self._soc_pct)

    async def get_dc_ev_status_dinspec(self) -> Any:
        return din.DCEVStatus(ev_ready=True, ev_error_code=DCEVErrorCode.NO_ERROR, ev_ress_soc=self._soc_pct)

    async def get_dc_ev_power_delivery_parameter(self) -> Any:
        return iso2.DCEVPowerDeliveryParameter(
            dc_ev_status=await self.get_dc_ev_status(),
            bulk_charging_complete=False,
            charging_complete=await self.is_charging_complete(),
        )

    async def get_dc_ev_power_delivery_parameter_dinspec(self) -> Any:
        return din.DCEVPowerDeliveryParameter(
            dc_ev_status=await self.get_dc_ev_status_dinspec(), charging_complete=await self.is_charging_complete()
        )
