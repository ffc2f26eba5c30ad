"""The rig's EV as a device of the real-time rig: the car of the plant, speaking ISO 15118 to the process secc.

    .venv-secc/bin/python -P hil/ev/device.py --shm NAME --interface lo

Started by hil/rig.py in the SECC's environment instead of hil.devices.car, with the same standard input and output
(hil/devices/process.py): commands in, answers out, the end of input is the end of the process. A session begins when
the car is plugged in, wants one and sees 5 % on its pilot; a car that was sent away waits until the pilot was without
PWM in between.

An interface whose name begins with v2g is made: a veth to a network namespace of the car's own, where root is (see
hil/ev/wires.py). Without root both ends use the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

from iso15118.evcc.evcc_config import EVCCConfig
from iso15118.shared.settings import SettingKey, shared_settings

from firmware.bridges.secc.engine import PROTOCOLS, allow_omissions, schemas
from firmware.bridges.secc.exi import ExiCodec
from hil.devices.process import SharedLink
from hil.ev import obedient
from hil.ev.body import V_MAX_V, PlantBody, Wishes
from hil.ev.controller import RigEv
from hil.ev.session import Log, NoSession, run
from hil.ev.wires import NoWires, join
from hil.plant.link import PlantLink

STEP_S = 0.01
REPLUG_S = 1.5  # a driver's hand; own choice
DUTY_PCT = (3.0, 7.0)  # IEC 61851-1: what counts as 5 %
PILOT_LOST_S = 0.1
LIMIT_HOLD_S = 2.0  # as hil/devices/car.py: a charger needs time to follow a lowered limit
OVER_VOLTAGE_HOLD_S = 0.4  # IEC 61851-23:2023 Table 104
_NUMBERS = {
    "target_a": (-500.0, 500.0),
    "charge_max_a": (0.0, 500.0),
    "discharge_max_a": (0.0, 500.0),
    "soc_target": (0.0, 1.0),
    "soc_min": (0.0, 1.0),
    "departure_s": (0.0, 1e6),
}
_ACTIONS = ("plug_in", "unplug", "stop", "pause", "emergency", "state")
_FLAGS = ("v2g", "tls")
# What every protocol runs over when the car speaks TLS; DIN 70121 knows none.
TLS_VERSIONS = {"iso20": "1.3", "iso2": "1.2"}
_CHOICES = {"protocol": tuple(PROTOCOLS), "mode": ("dynamic", "scheduled")}


class EvDevice:
    def __init__(
        self, link: PlantLink, interface: str, cache: Path | None, pki: Path | None, rng: random.Random
    ) -> None:
        """pki: absent, the car knows no TLS. Raises ValueError with a sentence when it cannot be used."""
        self._link = link
        self._interface = interface
        self._contexts = {}
        if pki is not None:
            from firmware.bridges.secc.tls import client_context

            self._contexts = {protocol: client_context(pki, version) for protocol, version in TLS_VERSIONS.items()}
        self._pause_s = 0.05 + 0.05 * rng.random()  # cars differ; recorded ones ask every 0.1 s and slower
        self._codec = ExiCodec(schemas(), cache_folder=cache)
        self._session: asyncio.Task[None] | None = None
        self._controller: RigEv | None = None
        self._held: dict[str, float] = {}
        self.wishes = Wishes()
        self.v2g = True
        self.protocol, self.mode = "iso20", "dynamic"
        self.tls = pki is not None
        self._wants = self._sent_away = False
        self._replug_t: float | None = None  # when a car that was pulled out is plugged in again
        self._resume = ""  # number of the session that it paused
        self.last = "no session yet"

    # ------------------------------------------------------------------------------------------------------ commands
    def handle(self, command: dict[str, Any]) -> None:
        """{"plug_in": true}, {"unplug": true}, {"stop": true}, {"pause": true}, {"emergency": true}, {"v2g": bool},
        {"tls": bool}, {"protocol": NAME}, {"mode": NAME}, {"limits": [charge A, discharge A]} and the numbers of the
        wishes; what was asked to be done is done last. {"state": true} only asks. Raises ValueError and then changes
        nothing."""
        for name, value in command.items():
            problem = _problem(name, value)
            if problem:
                raise ValueError(f"{name} = {value!r}: {problem}")
        if command.get("tls") and not self._contexts:
            raise ValueError("tls = True: the board has no [vehicle] pki")
        for name, value in sorted(command.items(), key=lambda item: item[0] in _ACTIONS):
            if name == "state":
                continue
            if name in _ACTIONS:
                getattr(self, f"_{name}")()
            elif name == "limits":
                self.wishes.charge_max_a, self.wishes.discharge_max_a = map(float, value)
            elif name == "departure_s":
                self.wishes.departure_s = int(value)
            elif name in _NUMBERS:
                setattr(self.wishes, name, float(value))
            else:
                setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """What the car is and does."""
        wishes, link = self.wishes, self._link
        return {
            "plugged": bool(link.ev_plugged),
            "session": self._session is not None,
            "charging": self._controller is not None and self._controller.charging,
            "protocol": self.protocol,
            "mode": self.mode,
            "v2g": self.v2g,
            "tls": self._context() is not None,
            "soc": round(link.soc, 4),
            "soc_target": wishes.soc_target,
            "soc_min": wishes.soc_min,
            "departure_s": wishes.departure_s,
            "target_a": wishes.target_a,
            "limits": [wishes.charge_max_a, wishes.discharge_max_a],
            "interface": self._interface,
            "paused": bool(self._resume),
            "last": self.last,
        }

    def _context(self) -> Any:
        return self._contexts.get(self.protocol) if self.tls else None

    def _plug_in(self) -> None:
        """Protocol, mode, service and TLS are those of the next session."""
        self.wishes.stop = self.wishes.pause = False
        if not self._link.ev_plugged and self._replug_t is None:
            self._plug()
        elif self._session is None and not self._wants and not self._resume:
            self._pull()  # it ended its last session by itself: only another plugging in begins one
        self._wants, self._sent_away = True, False

    def _plug(self) -> None:
        self._replug_t = None
        self._link.ev_plugged, self._link.ev_cp_state = 1.0, 2.0

    def _pull(self) -> None:
        self._link.ev_plugged, self._link.ev_cp_state = 0.0, 1.0
        self._replug_t = asyncio.get_running_loop().time() + REPLUG_S

    def _unplug(self) -> None:
        self._abandon()
        self._link.ev_plugged, self._link.ev_cp_state = 0.0, 1.0
        self._wants, self._replug_t, self._resume = False, None, ""

    def _pause(self) -> None:
        """`plug_in` resumes it, without the plug being pulled. DIN 70121 knows no pause: it just ends."""
        self.wishes.pause = self.protocol != "din"
        self._stop()

    def _stop(self) -> None:
        self.wishes.stop, self._wants = True, False

    def _emergency(self) -> None:
        self._wants = False
        self._abandon()

    # --------------------------------------------------------------------------------------------------------- steps
    def step(self, now: float) -> None:
        """Every STEP_S."""
        link = self._link
        low, high = DUTY_PCT
        offered = low <= link.cp_duty_pct <= high
        if self._session is not None:
            self._protect(now, offered)
            return
        if self._replug_t is not None:
            if now >= self._replug_t:
                self._plug()
            return
        if not offered and self._sent_away:
            self._sent_away, self._wants = False, True  # the pilot toggle of ISO 15118-3 wakes it
        elif offered and link.ev_plugged and self._wants and not self._sent_away:
            self._session = asyncio.create_task(self._run())

    def _protect(self, now: float, offered: bool) -> None:
        """What makes a car give up at once, whatever its session says."""
        link, wishes = self._link, self.wishes
        amps = link.batt_i_a
        outside = amps > wishes.charge_max_a * 1.1 + 2.0 or amps < -(wishes.discharge_max_a * 1.1 + 2.0)
        over = bool(link.k_ev) and link.batt_v_v > V_MAX_V * 1.01
        for name, present, hold_s in (
            ("its pilot was lost", not offered, PILOT_LOST_S),
            (f"{amps:+.1f} A are outside its limits", outside, LIMIT_HOLD_S),
            (f"{link.batt_v_v:.0f} V are above its maximum", over, OVER_VOLTAGE_HOLD_S),
        ):
            key = name[-12:]
            if not present:
                self._held.pop(key, None)
            elif now - self._held.setdefault(key, now) >= hold_s:
                print(f"the car gives up: {name}", file=sys.stderr, flush=True)
                self._abandon()
                return

    def _abandon(self) -> None:
        """Contactors open and state B at once; the connection just ends."""
        self._held.clear()
        if self._controller is not None:
            self._controller.open()
            self._controller.body.state_c(False)
        if self._session is not None:
            self._session.cancel()

    async def _run(self) -> None:
        tls = self._context()
        config = EVCCConfig(
            supportedProtocols=[PROTOCOLS[self.protocol].name],
            supportedEnergyServices=["DC_BPT", "DC"] if self.v2g else ["DC"],
            useTls=tls is not None,
            enforceTls=tls is not None,
            energyTransferMode="DC_extended",
        )
        config.load_raw_values()
        controller = RigEv(
            config, PlantBody(self._link), self.wishes, dynamic=self.mode == "dynamic", bidirectional=self.v2g
        )
        self._controller = controller
        log = Log()
        said = "its session was broken off"
        resume, self._resume = self._resume, ""
        try:
            result = await run(
                self._interface, config, controller, self._codec, log, tls=tls, pause_s=self._pause_s, resume=resume
            )
            said = "its session has ended well" if result.successful else result.reason
            if result.successful and self.wishes.pause:
                said, self._resume = "its session is paused", result.session_id
            if result.tls:
                said += f" ({result.tls})"
        except NoSession as error:
            said = str(error)
        finally:
            controller.open()
            controller.body.state_c(False)
            self._controller = self._session = None
            self._sent_away, self._wants = self._wants, False
            self.last = f"{said}; failed: {', '.join(log.failed) or 'nothing'}"
            print(f"the car: {self.last}", file=sys.stderr, flush=True)

    async def close(self) -> None:
        session = self._session
        self._abandon()
        if session is not None:
            await asyncio.gather(session, return_exceptions=True)


def _problem(name: str, value: Any) -> str:
    """Why a command is refused; empty when it is not."""
    if name in _ACTIONS:
        return "" if value is True else "must be true"
    if name in _FLAGS:
        return "" if isinstance(value, bool) else "must be true or false"
    if name in _CHOICES:
        return "" if value in _CHOICES[name] else f"allowed are {', '.join(_CHOICES[name])}"
    if name == "limits":
        good = isinstance(value, list) and len(value) == 2 and all(_within(a, 0.0, 500.0) for a in value)
        return "" if good else "[charge A, discharge A], each 0 to 500"
    if name in _NUMBERS:
        low, high = _NUMBERS[name]
        return "" if _within(value, low, high) else f"allowed is {low:g} to {high:g}"
    return f"there is no such command; there are {', '.join((*_ACTIONS, *_FLAGS, *_CHOICES, 'limits', *_NUMBERS))}"


def _within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


async def serve(device: EvDevice) -> None:
    """Until standard input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stepping = asyncio.create_task(_steps(device))
    answer({"ready": True})
    try:
        while line := await reader.readline():
            try:
                command = json.loads(line)
                if not isinstance(command, dict):
                    raise ValueError("a command is a JSON object")
                device.handle(command)
            except (ValueError, TypeError) as error:
                answer({"error": str(error)})
            else:
                answer({"ok": True, **({"car": device.state()} if "state" in command else {})})
    finally:
        stepping.cancel()
        await device.close()


async def _steps(device: EvDevice) -> None:
    loop = asyncio.get_running_loop()
    while True:
        device.step(loop.time())
        await asyncio.sleep(STEP_S)


def answer(reply: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        print(json.dumps(reply), flush=True)


def make_pki(folder: Path) -> None:
    """Certificates of charger and car, all or nothing. Raises ValueError with a sentence."""
    from firmware.bridges.secc import pki

    fresh = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)  # of a rig that was killed while it made them
        pki.make(fresh)
        fresh.rename(folder)
    except (OSError, pki.PkiError) as error:
        raise ValueError(f"No certificates for the car: {error}") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="ev device", description="The rig's EV, speaking ISO 15118.")
    parser.add_argument("--shm", required=True)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--pki", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    interface = options.interface
    if interface.startswith("v2g"):
        try:
            interface = join(interface)
        except NoWires as reason:
            print(f"the car is on the loopback: {reason}", file=sys.stderr, flush=True)
            interface = "lo"
    logging.disable(logging.CRITICAL)  # the package logs to standard output, which is for answers
    shared_settings.update(
        {
            SettingKey.PKI_PATH: "/nonexistent/",
            SettingKey.MESSAGE_LOG_JSON: False,
            SettingKey.MESSAGE_LOG_EXI: False,
            SettingKey.ENABLE_TLS_1_3: True,
        }
    )
    allow_omissions()
    obedient.install()
    shared = SharedLink(options.shm)
    try:
        if options.pki is not None and not options.pki.exists():
            make_pki(options.pki)
        device = EvDevice(shared.link, interface, options.cache, options.pki, random.Random(options.seed))
    except ValueError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(device))
    del device
    with contextlib.suppress(BufferError):
        shared.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
