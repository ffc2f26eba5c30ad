"""A car that says exactly what stories tell it to, at the car's end of the wires: `talker.py STORY... --interface lo`.

The package's own EV cannot pause, resume or renegotiate. Each answer of the charger is a line of JSON.
Runs in the SECC's environment, beside the real process `secc`; the stories' assertions are in test_secc_pause.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from firmware.bridges.secc.car import name_and_body
from firmware.bridges.secc.engine import schemas
from firmware.bridges.secc.exi import ExiCodec
from firmware.bridges.secc.exi.codec import APP_PROTOCOL, DIN, ISO_2, ISO_20_COMMON, ISO_20_DC
from hil.ev.session import discover

TYPES = {ISO_20_COMMON: 0x8002, ISO_20_DC: 0x8004}  # payload types of V2GTP; all others are 0x8001
ANSWER_S = 60.0
_WAYS = ("ChargingSchedule", "DischargingSchedule")
READY = {"EVReady": True, "EVErrorCode": "NO_ERROR", "EVRESSSOC": 50}


def amount(value: int, unit: str) -> dict[str, Any]:
    return {"Multiplier": 0, "Unit": unit, "Value": value}


def ratio(value: int) -> dict[str, int]:
    return {"Exponent": 0, "Value": value}


def value(number: dict[str, Any]) -> float:
    return float(number["Value"] * 10.0 ** number.get("Multiplier", number.get("Exponent", 0)))


def notification(body: Mapping[str, Any]) -> str:
    """What the charger asks for in an answer of the loop."""
    status = body.get("EVSEStatus") or body.get("DC_EVSEStatus") or {}
    return str(status.get("EVSENotification", "None"))


def plan(body: Mapping[str, Any]) -> list[list[float]]:
    """The charger's schedule: (s from now, W charging, W discharging), the last with its end."""
    if "SAScheduleList" in body:
        entries = body["SAScheduleList"]["SAScheduleTuple"][0]["PMaxSchedule"]["PMaxScheduleEntry"]
        found = [[entry["RelativeTimeInterval"]["start"], value(entry["PMax"])] for entry in entries]
        last = entries[-1]["RelativeTimeInterval"]
        return [*found, [last["start"] + last["duration"]]]
    if "Scheduled_SEResControlMode" in body:
        chosen = body["Scheduled_SEResControlMode"]["ScheduleTuple"][0]
        schedules = [chosen[key]["PowerSchedule"] for key in _WAYS if key in chosen]
        ways = [schedule["PowerScheduleEntries"]["PowerScheduleEntry"] for schedule in schedules]
        found, start = [], 0
        for entry in zip(*ways, strict=True):
            found.append([start, *(value(way["Power"]) for way in entry)])
            start += entry[0]["Duration"]
        return [*found, [start]]
    return []


class Talker:
    """One car. `session_id`: of its last session."""

    def __init__(self, interface: str, cache: Path) -> None:
        self._interface = interface
        self._codec = ExiCodec(schemas(), cache_folder=cache)
        self.session_id = "00"
        self.heard: Mapping[str, Any] = {}  # the last answer of the loop

    async def becomes(self, within_s: float = 0.5, **charger: Any) -> None:
        """The charger becomes so, within a moment."""
        print(json.dumps({"event": "charger", "values": charger}), flush=True)
        await asyncio.sleep(within_s)

    async def until_asked(self, loop: Callable[[], Awaitable[None]], **charger: Any) -> None:
        """The charger becomes so; the car stays in its loop until it is asked for something."""
        await self.becomes(0.0, **charger)
        for _ in range(200):
            await loop()
            if notification(self.heard) != "None":
                return
        raise AssertionError("the charger asks for nothing")

    async def connect(self, protocol: str) -> None:
        """protocol: DIN, ISO_2 or ISO_20_DC."""
        host, port, _ = await discover(self._interface, tls=False)
        where = host if self._interface == "lo" else f"{host}%{self._interface}"
        self._reader, self._writer = await asyncio.open_connection(where, port, family=socket.AF_INET6)
        self._protocol = protocol
        app = {"ProtocolNamespace": protocol, "VersionNumberMajor": 1 if protocol == ISO_20_DC else 2}
        app |= {"VersionNumberMinor": 0, "SchemaID": 1, "Priority": 1}
        await self._exchange(APP_PROTOCOL, {"supportedAppProtocolReq": {"AppProtocol": [app]}})

    async def disconnect(self) -> None:
        self._writer.close()

    async def _exchange(self, namespace: str, message: dict[str, Any]) -> dict[str, Any]:
        data = self._codec.encode_message(message, namespace)
        self._writer.write(bytes([1, 0xFE]) + TYPES.get(namespace, 0x8001).to_bytes(2, "big"))
        self._writer.write(len(data).to_bytes(4, "big") + data)
        asked = time.monotonic()
        async with asyncio.timeout(ANSWER_S):
            try:
                header = await self._reader.read(8)
            except OSError:
                header = b""
            if not header:
                print(json.dumps({"asked": name_and_body(message)[0], "answer": "", "code": "closed"}), flush=True)
                return {}
            answer = self._codec.decode_message(
                await self._reader.readexactly(int.from_bytes(header[4:8], "big")), namespace
            )
        name, body = name_and_body(answer)
        wrapped = answer.get("V2G_Message")
        told = wrapped["Header"] if isinstance(wrapped, dict) else body.get("Header", {})
        self.session_id = told.get("SessionID", self.session_id)
        line = {
            "asked": name_and_body(message)[0],
            "answer": name,
            "code": body.get("ResponseCode"),
            "session": self.session_id,
            "after_s": time.monotonic() - asked,
            "notification": notification(body),
            "plan": plan(body),
        }
        print(json.dumps(line), flush=True)
        return dict(body)

    async def ask(self, name: str, **body: Any) -> dict[str, Any]:
        """A request of the protocol; the answer's body."""
        if self._protocol in (ISO_2, DIN):
            message = {"V2G_Message": {"Header": {"SessionID": self.session_id}, "Body": {name: body}}}
            return await self._exchange(self._protocol, message)
        header = {"Header": {"SessionID": self.session_id, "TimeStamp": int(time.time())}}
        return await self._exchange(ISO_20_DC if name.startswith("DC_") else ISO_20_COMMON, {name: header | body})

    async def ask_until_done(self, name: str, patience: int = 0, **body: Any) -> dict[str, Any]:
        """patience: give up after so many answers; 0: that it goes on for ever is a fault."""
        for _ in range(patience or 200):
            answer = await self.ask(name, **body)
            if answer.get("EVSEProcessing") != "Ongoing":
                return answer
            await asyncio.sleep(0.05)
        if patience:
            return answer
        raise AssertionError(f"{name} goes on for ever")

    # ------------------------------------------------------------------------------------------------ ISO 15118-2
    async def setup_2(self, patience: int = 0) -> None:
        await self.connect(ISO_2)
        await self.ask("SessionSetupReq", EVCCID="020000000001")
        await self.ask("ServiceDiscoveryReq")
        service = {"SelectedService": [{"ServiceID": 1}]}
        await self.ask(
            "PaymentServiceSelectionReq", SelectedPaymentOption="ExternalPayment", SelectedServiceList=service
        )
        await self.ask_until_done("AuthorizationReq")
        await self.parameters_2(patience)

    async def parameters_2(self, patience: int = 0) -> None:
        limits = {
            "DC_EVStatus": READY,
            "EVMaximumCurrentLimit": amount(100, "A"),
            "EVMaximumVoltageLimit": amount(450, "V"),
        }
        await self.ask_until_done(
            "ChargeParameterDiscoveryReq",
            patience,
            RequestedEnergyTransferMode="DC_extended",
            DC_EVChargeParameter=limits,
        )

    async def to_the_loop_2(self, *profile: tuple[int, int]) -> None:
        await self.precharged_2()
        await self.delivery_2("Start", *profile)
        await self.loop_2()

    async def precharged_2(self) -> None:
        await self.ask_until_done("CableCheckReq", DC_EVStatus=READY)
        for _ in range(100):
            answer = await self.ask(
                "PreChargeReq",
                DC_EVStatus=READY,
                EVTargetVoltage=amount(400, "V"),
                EVTargetCurrent=amount(1, "A"),
            )
            if answer["EVSEPresentVoltage"]["Value"] * 10.0 ** answer["EVSEPresentVoltage"]["Multiplier"] > 390:
                break
            await asyncio.sleep(0.05)

    async def delivery_2(self, progress: str, *profile: tuple[int, int]) -> dict[str, Any]:
        """profile: (s, W) of the car's own plan."""
        entries = [{"ChargingProfileEntryStart": s, "ChargingProfileEntryMaxPower": amount(w, "W")} for s, w in profile]
        more = {"ChargingProfile": {"ProfileEntry": entries}} if entries else {}
        return await self.ask("PowerDeliveryReq", ChargeProgress=progress, SAScheduleTupleID=1, **more)

    async def loop_2(self, times: int = 5) -> None:
        for _ in range(times):
            self.heard = await self.ask(
                "CurrentDemandReq",
                DC_EVStatus=READY,
                EVTargetCurrent=amount(20, "A"),
                EVTargetVoltage=amount(400, "V"),
                EVMaximumCurrentLimit=amount(100, "A"),
                EVMaximumVoltageLimit=amount(450, "V"),
                ChargingComplete=False,
            )
            await asyncio.sleep(0.05)

    # ----------------------------------------------------------------------------------------------- ISO 15118-20
    async def setup_20(self, service: int = 2, scheduled: bool = False, patience: int = 0) -> None:
        await self.connect(ISO_20_DC)
        await self.ask("SessionSetupReq", EVCCID="WMIV1234567890ABCDEX")
        await self.ask("AuthorizationSetupReq")
        await self.ask_until_done("AuthorizationReq", SelectedAuthorizationService="EIM", EIM_AReqAuthorizationMode={})
        await self.services_20(service, scheduled, patience)

    async def services_20(self, service: int, scheduled: bool = False, patience: int = 0) -> None:
        await self.ask("ServiceDiscoveryReq")
        await self.ask("ServiceDetailReq", ServiceID=service)
        chosen = {"ServiceID": service, "ParameterSetID": 2 if scheduled else 1}
        await self.ask("ServiceSelectionReq", SelectedEnergyTransferService=chosen)
        names = ("MaximumChargePower", "MinimumChargePower", "MaximumChargeCurrent", "MinimumChargeCurrent")
        limits = dict(zip((f"EV{n}" for n in names), map(ratio, (30_000, 0, 100, 0)), strict=True))
        limits |= {"EVMaximumVoltage": ratio(450), "EVMinimumVoltage": ratio(300)}
        if service == 6:
            limits |= {f"EV{n.replace('Charge', 'Discharge')}": limits[f"EV{n}"] for n in names}
        mode = "BPT_DC_CPDReqEnergyTransferMode" if service == 6 else "DC_CPDReqEnergyTransferMode"
        await self.ask("DC_ChargeParameterDiscoveryReq", **{mode: limits})
        await self.schedule_20(scheduled, patience)

    async def schedule_20(self, scheduled: bool, patience: int = 0) -> None:
        if scheduled:
            mode = {"EVTargetEnergyRequest": ratio(18_000)}
            wish = {"MaximumSupportingPoints": 12, "Scheduled_SEReqControlMode": mode}
            await self.ask_until_done("ScheduleExchangeReq", patience, **wish)
            return
        wishes = {"DepartureTime": 7200, "MinimumSOC": 30, "TargetSOC": 80, "EVTargetEnergyRequest": ratio(18_000)}
        wishes |= {"EVMaximumEnergyRequest": ratio(30_000), "EVMinimumEnergyRequest": ratio(0)}
        await self.ask_until_done("ScheduleExchangeReq", MaximumSupportingPoints=1024, Dynamic_SEReqControlMode=wishes)

    async def to_the_loop_20(self, service: int = 2, scheduled: bool = False) -> None:
        await self.ask_until_done("DC_CableCheckReq")
        volts = {"EVPresentVoltage": ratio(400), "EVTargetVoltage": ratio(400)}
        for _ in range(100):
            answer = await self.ask("DC_PreChargeReq", EVProcessing="Ongoing", **volts)
            if answer["EVSEPresentVoltage"]["Value"] * 10.0 ** answer["EVSEPresentVoltage"]["Exponent"] > 390:
                break
            await asyncio.sleep(0.05)
        await self.ask("DC_PreChargeReq", EVProcessing="Finished", **volts)
        await self.start_20(scheduled)
        for _ in range(5):
            await self.loop_20(service, scheduled)

    async def start_20(self, scheduled: bool) -> None:
        await self.delivery_20("Start", *(((600, 8_000), (85_800, -3_000)) if scheduled else ()))

    async def delivery_20(self, progress: str, *profile: tuple[int, int]) -> dict[str, Any]:
        """profile: (s that it lasts, W) of the car's own plan for the schedule 1."""
        more: dict[str, Any] = {}
        if profile:
            entries = [{"Duration": duration, "Power": ratio(power)} for duration, power in profile]
            more["EVPowerProfile"] = {
                "TimeAnchor": int(time.time()),
                "Scheduled_EVPPTControlMode": {"SelectedScheduleTupleID": 1},
                "EVPowerProfileEntries": {"EVPowerProfileEntry": entries},
            }
        return await self.ask("PowerDeliveryReq", EVProcessing="Finished", ChargeProgress=progress, **more)

    async def loop_20(self, service: int, scheduled: bool = False) -> None:
        if scheduled:
            wanted: dict[str, Any] = {"EVTargetCurrent": ratio(20), "EVTargetVoltage": ratio(400)}
            name = "BPT_Scheduled_DC_CLReqControlMode" if service == 6 else "Scheduled_DC_CLReqControlMode"
            await self.demand_20({name: wanted})
            return
        mode = {
            "EVTargetEnergyRequest": ratio(18_000),
            "EVMaximumEnergyRequest": ratio(30_000),
            "EVMinimumEnergyRequest": ratio(0),
            "EVMaximumChargePower": ratio(30_000),
            "EVMinimumChargePower": ratio(0),
            "EVMaximumChargeCurrent": ratio(100),
            "EVMaximumVoltage": ratio(450),
            "EVMinimumVoltage": ratio(300),
        }
        name = "Dynamic_DC_CLReqControlMode"
        if service == 6:
            name = f"BPT_{name}"
            mode |= {"EVMaximumDischargePower": ratio(20_000), "EVMinimumDischargePower": ratio(0)}
            mode |= {"EVMaximumDischargeCurrent": ratio(50)}
        await self.demand_20({name: mode})

    async def demand_20(self, mode: dict[str, Any]) -> None:
        self.heard = await self.ask("DC_ChargeLoopReq", MeterInfoRequested=True, EVPresentVoltage=ratio(400), **mode)
        await asyncio.sleep(0.05)

    # ---------------------------------------------------------------------------------------------------- the end
    async def bye(self, how: str) -> None:
        await self.ask("SessionStopReq", ChargingSession=how)
        await self.disconnect()
        await asyncio.sleep(0.5)


async def pause_2(car: Talker) -> None:
    await car.setup_2()
    await car.to_the_loop_2()
    await car.delivery_2("Stop")
    await car.bye("Pause")
    await car.setup_2()
    await car.to_the_loop_2()
    await car.delivery_2("Stop")
    await car.bye("Terminate")
    await car.connect(ISO_2)  # over is over: its number is nobody's any more
    await car.ask("SessionSetupReq", EVCCID="020000000001")


async def pause_20(car: Talker) -> None:
    await car.setup_20()
    await car.to_the_loop_20()
    await car.delivery_20("Stop")
    await car.bye("Pause")
    await car.setup_20()
    await car.to_the_loop_20()
    await car.delivery_20("Stop")
    await car.bye("Terminate")
    await car.connect(ISO_20_DC)
    await car.ask("SessionSetupReq", EVCCID="WMIV1234567890ABCDEX")


async def pause_and_unplug(car: Talker) -> None:
    await car.setup_20()
    await car.bye("Pause")
    print(json.dumps({"event": "unplug"}), flush=True)
    await asyncio.sleep(1.0)
    await car.connect(ISO_20_DC)
    await car.ask("SessionSetupReq", EVCCID="WMIV1234567890ABCDEX")


async def renegotiate_2(car: Talker) -> None:
    await car.setup_2()
    await car.to_the_loop_2()
    await car.delivery_2("Renegotiate")
    await car.parameters_2()
    await car.to_the_loop_2()
    await car.delivery_2("Stop")
    await car.bye("Terminate")


async def renegotiate_services_20(car: Talker) -> None:
    await car.setup_20()
    await car.to_the_loop_20()
    await car.delivery_20("Stop")
    await car.ask("SessionStopReq", ChargingSession="ServiceRenegotiation")
    await car.services_20(6)
    await car.to_the_loop_20(6)
    await car.delivery_20("Stop")
    await car.bye("Terminate")


async def renegotiate_schedule_20(car: Talker) -> None:
    """By its own wish, in control mode Dynamic."""
    await car.setup_20()
    await car.to_the_loop_20()
    await car.delivery_20("ScheduleRenegotiation")
    await car.schedule_20(False)
    await car.start_20(False)
    await car.loop_20(2)
    await car.delivery_20("Stop")
    await car.bye("Terminate")


async def misplaced_schedule_20(car: Talker) -> None:
    await car.setup_20()
    await car.ask_until_done("DC_CableCheckReq")
    await car.ask("DC_PreChargeReq", EVProcessing="Ongoing", EVPresentVoltage=ratio(400), EVTargetVoltage=ratio(400))
    await car.delivery_20("ScheduleRenegotiation")


PLAN = [[0.0, 6_000.0, 0.0], [600.0, 9_000.0, 4_000.0]]  # (s, W, W): messages.Part


async def asked_for_a_schedule_2(car: Talker) -> None:
    """Its own profile rises with the schedule: the package's check would end it."""
    await car.setup_2()
    await car.to_the_loop_2((0, 11_000))
    await car.until_asked(lambda: car.loop_2(1), ask="schedule", plan=PLAN, plan_no=7)
    await car.delivery_2("Renegotiate")
    await car.parameters_2()
    await car.to_the_loop_2((0, 6_000), (600, 9_000))
    await car.delivery_2("Stop")
    await car.bye("Terminate")


async def beyond_its_schedule_2(car: Talker) -> None:
    """The charger's plan is still that of the story before, which is told in a moment at most."""
    await car.becomes(plan=PLAN, plan_no=7)
    await car.setup_2()
    await car.precharged_2()
    await car.delivery_2("Start", (0, 6_000), (300, 9_000))


async def asked_for_a_schedule_20(car: Talker) -> None:
    await car.setup_20(6, scheduled=True)
    await car.to_the_loop_20(6, scheduled=True)
    await car.until_asked(lambda: car.loop_20(6, True), ask="schedule", plan=PLAN, plan_no=8)
    await car.delivery_20("ScheduleRenegotiation")
    await car.schedule_20(True)
    await car.start_20(True)
    await car.loop_20(6, True)
    await car.delivery_20("Stop")
    await car.bye("Terminate")


async def waits_for_its_schedule_2(car: Talker) -> None:
    await car.becomes(planning=True)
    await car.setup_2(patience=5)
    await car.becomes(planning=False, plan=PLAN, plan_no=9)
    await car.parameters_2()


async def waits_for_its_schedule_20(car: Talker) -> None:
    await car.becomes(planning=True)
    await car.setup_20(6, scheduled=True, patience=5)
    await car.becomes(planning=False, plan=PLAN, plan_no=10)
    await car.schedule_20(True)


async def asked_for_a_pause_20(car: Talker) -> None:
    await car.setup_20()
    await car.to_the_loop_20()
    await car.until_asked(lambda: car.loop_20(2), ask="pause")
    await car.delivery_20("Stop")
    await car.bye("Pause")
    await car.setup_20()
    await car.bye("Terminate")


async def standby_20(car: Talker) -> None:
    await car.setup_20()
    await car.to_the_loop_20()
    await car.delivery_20("Standby")


async def certificate_20(car: Talker) -> None:
    await car.connect(ISO_20_DC)
    await car.ask("SessionSetupReq", EVCCID="WMIV1234567890ABCDEX")
    await car.ask("AuthorizationSetupReq")
    chain = {"Id": "id1", "Certificate": "AAAA"}
    roots = {"RootCertificateID": [{"X509IssuerName": "CN=x", "X509SerialNumber": 1}]}
    await car.ask(
        "CertificateInstallationReq",
        OEMProvisioningCertificateChain=chain,
        ListOfRootCertificateIDs=roots,
        MaximumContractCertificateChains=1,
    )


async def metering_20(car: Talker) -> None:
    await car.setup_20()
    await car.to_the_loop_20()
    data = {"Id": "id1", "SessionID": car.session_id, "MeterInfo": {"MeterID": "q", "ChargedEnergyReadingWh": 1}}
    await car.ask("MeteringConfirmationReq", SignedMeteringData=data | {"Dynamic_SMDTControlMode": {}})


async def sequence_2(car: Talker) -> None:
    await car.connect(ISO_2)
    await car.ask("SessionSetupReq", EVCCID="020000000001")
    await car.delivery_2("Start")


STORIES: dict[str, Callable[[Talker], Awaitable[None]]] = {
    story.__name__: story
    for story in (
        pause_2,
        pause_20,
        pause_and_unplug,
        renegotiate_2,
        renegotiate_services_20,
        renegotiate_schedule_20,
        misplaced_schedule_20,
        asked_for_a_schedule_2,
        beyond_its_schedule_2,
        asked_for_a_schedule_20,
        asked_for_a_pause_20,
        waits_for_its_schedule_2,
        waits_for_its_schedule_20,
        standby_20,
        certificate_20,
        metering_20,
        sequence_2,
    )
}


async def tell(stories: list[str], interface: str, cache: Path) -> None:
    """One after the other, each by another car."""
    for name in stories:
        print(json.dumps({"story": name}), flush=True)
        car = Talker(interface, cache)
        await STORIES[name](car)
        await car.disconnect()
        await asyncio.sleep(0.3)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("stories", nargs="+", choices=STORIES)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(tell(options.stories, options.interface, options.cache))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
