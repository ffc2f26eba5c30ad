"""Whole sessions with real processes: `secc` against the rig's EV, the charger a script. Bounded in time."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.secc.messages import CarState
from tests.secc.environment import ROOT, SECC_PYTHON, needs_schemas
from tests.secc.stand import Ev, Script, Stand, Wires, loopback, modem, stand

pytestmark = [needs_schemas, pytest.mark.slow, pytest.mark.timeout(400)]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces joined by a veth need root")
# Nothing of the car has failed, and nobody was asked to stop.
ORDERLY = ["none", "wait", "insulation", "precharge", "transfer", "ending", "welding", "ending", "none"]


def both_ways(t: float, car: CarState) -> float:
    """+10 kW, -8 kW, nothing, at 400 V: a second each."""
    return 25.0 if t < 1.0 else -20.0 if t < 2.0 else 0.0


def play(
    tmp_path: Path,
    act: Callable[[Stand], Awaitable[None]],
    *secc: str,
    script: Script | None = None,
    wires: Callable[[], Any] = loopback,
) -> None:
    async def run() -> None:
        with wires() as ends:
            assert isinstance(ends, Wires)
            async with stand(tmp_path, ends, script or Script(), *secc) as bench:
                await act(bench)

    asyncio.run(run())


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki") / "pki"
    command = [str(SECC_PYTHON), "-P", str(ROOT / "firmware/bridges/secc/pki.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


async def charge(bench: Stand, *arguments: str, seconds: float = 2.5) -> dict[str, Any]:
    """From SDP to SessionStop, with `seconds` of transfer; the EV's own account of it."""
    ev = await bench.ev(*arguments)
    await bench.phase("transfer")
    await bench.until(lambda: transfer_s(bench) >= seconds, "transfer")
    await ev.say(stop=True)
    return await finished(bench, ev)


def transfer_s(bench: Stand) -> float:
    times = [car.sent_t for car in bench.charger.cars if car.phase == "transfer"]
    return times[-1] - times[0] if times else 0.0


def orderly(bench: Stand, report: dict[str, Any]) -> None:
    assert report["successful"], report
    assert report["failed"] == []
    assert report["notifications"] == []
    assert bench.charger.phases == ORDERLY
    assert bench.charger.bad == 0


def test_20_bidirectional_dynamic_from_sdp_to_session_stop(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        report = await charge(bench, "--bidirectional", "--mode", "dynamic")
        orderly(bench, report)
        assert (report["highest_a"], report["lowest_a"]) == (25.0, -20.0)
        assert {"BPTChannel", "GeneratorMode", "ControlMode", "MobilityNeedsMode"} <= set(report["parameters"])
        car = next(car for car in bench.charger.cars if car.phase == "transfer")
        assert (car.protocol, car.bidirectional, car.control) == ("iso20", True, "dynamic")
        assert (car.target_a, car.target_v) == (None, None)
        assert (car.charge_max_a, car.discharge_max_a, car.max_v, car.min_v) == (125.0, 60.0, 450.0, 300.0)
        assert (car.soc_pct, car.min_soc_pct, car.target_soc_pct) == (50.0, 30.0, 80.0)
        assert (car.departure_s, car.min_energy_wh, car.capacity_wh) == (7200.0, -12_000.0, 60_000.0)

    play(tmp_path, act, script=Script(amps=both_ways))


@needs_root
def test_20_bidirectional_dynamic_over_mutual_tls_1_3_on_a_link_like_a_modems(tmp_path: Path, pki: Path) -> None:
    async def act(bench: Stand) -> None:
        report = await charge(bench, "--bidirectional", "--mode", "dynamic", "--pki", str(pki))
        orderly(bench, report)
        assert report["tls"] == "TLSv1.3"
        assert (report["highest_a"], report["lowest_a"]) == (25.0, -20.0)

    play(tmp_path, act, "--pki", str(pki), script=Script(amps=both_ways), wires=modem)


@needs_root
def test_20_bidirectional_scheduled_on_a_link_like_a_modems(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        report = await charge(bench, "--bidirectional", "--mode", "scheduled", "--target-a", "-15")
        orderly(bench, report)
        car = next(car for car in bench.charger.cars if car.phase == "transfer")
        assert (car.control, car.target_a, car.target_v) == ("scheduled", -15.0, 450.0)
        assert report["lowest_a"] == -15.0

    play(tmp_path, act, script=Script(amps=lambda t, car: car.target_a or 0.0), wires=modem)


def test_20_charging_only_offers_no_discharge(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        orderly(bench, await charge(bench, "--mode", "dynamic", seconds=0.5))
        assert not any(car.bidirectional or car.discharge_max_a for car in bench.charger.cars)

    play(tmp_path, act, "--charge-only")


def test_iso_15118_2_over_tls_1_2_without_a_client_certificate(tmp_path: Path, pki: Path) -> None:
    async def act(bench: Stand) -> None:
        report = await charge(bench, "--protocol", "iso2", "--pki", str(pki), "--tls-version", "1.2", seconds=1.0)
        orderly(bench, report)
        assert report["tls"] == "TLSv1.2"
        car = next(car for car in bench.charger.cars if car.phase == "transfer")
        assert (car.protocol, car.target_a, car.charge_max_a, car.departure_s) == ("iso2", 20.0, 125.0, 0.0)
        assert report["lowest_limit_a"] == 73.3  # a discharge limit would be told as a negative maximum

    play(tmp_path, act, "--pki", str(pki))


def test_din_70121(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        orderly(bench, await charge(bench, "--protocol", "din", seconds=1.0))
        assert next(car for car in bench.charger.cars if car.phase == "transfer").protocol == "din"

    play(tmp_path, act)


@pytest.mark.parametrize("arguments", [("--bidirectional",), ("--protocol", "iso2"), ("--protocol", "din")])
def test_every_byte_in_a_segment_of_its_own_makes_no_difference(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    async def act(bench: Stand) -> None:
        report = await charge(bench, *arguments, "--byte-by-byte", seconds=0.5)
        orderly(bench, report)

    play(tmp_path, act)


@pytest.mark.parametrize(
    ("protocol", "quirk"),
    [
        ("iso2", "remaining_time_in_minutes"),
        ("din", "remaining_time_in_minutes"),
        ("iso2", "empty_session_id"),
        ("iso2", "phases_of_a_dc_profile"),
        ("iso20", "no_power_profile"),
        ("iso20", "negative_discharge_limits"),
    ],
)
def test_a_car_with_a_quirk_charges(tmp_path: Path, protocol: str, quirk: str) -> None:
    async def act(bench: Stand) -> None:
        more = ["--bidirectional"] if protocol == "iso20" else []
        report = await charge(bench, "--protocol", protocol, "--quirk", quirk, *more, seconds=0.5)
        assert report["odd"] > 0
        orderly(bench, report)
        car = next(car for car in bench.charger.cars if car.phase == "transfer")
        assert car.charge_max_a == 125.0
        assert car.discharge_max_a == (60.0 if protocol == "iso20" else None)

    play(tmp_path, act)


def test_a_car_that_stops_speaking_is_seen_by_its_time_while_the_secc_goes_on(tmp_path: Path) -> None:
    """Guard's watchdog of 0.5 s looks at `t`. The package itself would wait for 60 s."""

    async def act(bench: Stand) -> None:
        ev = await bench.ev("--bidirectional")
        await bench.phase("transfer")
        await asyncio.sleep(0.5)
        inner = child_of(ev)
        os.kill(inner, signal.SIGSTOP)
        try:
            stopped_t = time.monotonic()
            await asyncio.sleep(1.2)
            car = bench.charger.cars[-1]
            assert car.phase == "transfer"
            assert car.t <= stopped_t + 0.1
            assert car.sent_t >= car.t + 0.9
        finally:
            os.kill(inner, signal.SIGCONT)

    play(tmp_path, act)


def child_of(ev: Ev) -> int:
    """`ip netns exec` replaces itself by the command, so the process is the one that was started."""
    return ev.process.pid


@pytest.mark.parametrize(
    ("protocol", "notification"), [("iso20", "Terminate"), ("iso2", "StopCharging"), ("din", "StopCharging")]
)
def test_a_grid_trip_is_told_and_the_session_ends_without_a_failed_response(
    tmp_path: Path, protocol: str, notification: str
) -> None:
    async def act(bench: Stand) -> None:
        ev = await bench.ev("--protocol", protocol, *(["--bidirectional"] if protocol == "iso20" else []))
        await bench.phase("transfer")
        await asyncio.sleep(0.3)
        # What guard has done already when it says so: power gone, contactors open.
        bench.charger.set(stop=True, emergency=True, contactors="open", present_a=0.0, ready=False)
        report = await ev.finish()
        assert report["successful"], report
        assert report["failed"] == []
        assert report["notifications"] == [notification]
        assert bench.charger.phases[5:8] == ["ending", "welding", "ending"]

    play(tmp_path, act)


def test_services_that_hang_make_the_secc_ask_the_car_to_stop(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        ev = await bench.ev("--bidirectional")
        await bench.phase("transfer")
        bench.charger.silent = True
        await bench.until(lambda: "ending" in bench.charger.phases, "stop")
        report = await ev.finish()
        assert "Terminate" in report["notifications"]
        # Nobody says that the contactors are open, so this is no success and must not be told as one.
        assert report["failed"] == ["PowerDeliveryRes: FAILED_ContactorError"], report

    play(tmp_path, act)


def test_without_services_there_is_no_secc(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        assert bench.charger._writer is not None
        bench.charger._writer.close()
        await asyncio.wait_for(bench.secc.wait(), 60.0)

    play(tmp_path, act)


def test_an_unplugged_car_ends_its_session_though_its_connection_stays_open(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        ev = await bench.ev("--bidirectional")
        await bench.phase("transfer")
        os.kill(child_of(ev), signal.SIGSTOP)
        try:
            bench.charger.set(plugged=False)
            await bench.until(lambda: "ending" in bench.charger.phases, "end", 20.0)  # the package waits for 60 s
            await bench.until(lambda: bool(bench.charger.ended), "end of the session")
            await bench.until(lambda: bench.charger.phases[-1:] == ["none"], "a car that is gone")
        finally:
            os.kill(child_of(ev), signal.SIGCONT)

    play(tmp_path, act)


# Runs at the car's end of the wires beside a session: every port of the SECC is tried.
INTRUDER = """
import socket, sys
ports = [int(line.split()[1].rsplit(":", 1)[1], 16) for line in open("/proc/net/tcp6") if line.split()[3] == "0A"]
for port in ports:
    with socket.create_connection(("::1", port), 5) as other:
        other.settimeout(5)
        print("closed" if other.recv(1) == b"" else "spoke")
"""


@needs_root
def test_nobody_else_can_speak_for_a_car_that_charges(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        ev = await bench.ev("--bidirectional")
        await bench.phase("transfer")
        process = await asyncio.create_subprocess_exec(
            *bench.wires.ev, *(str(SECC_PYTHON), "-c", INTRUDER), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60.0)
        assert out.decode().split() == ["closed"]
        await asyncio.sleep(0.3)
        assert bench.charger.phases[-1] == "transfer"
        await ev.say(stop=True)
        orderly(bench, await finished(bench, ev))

    play(tmp_path, act)


async def finished(bench: Stand, ev: Ev) -> dict[str, Any]:
    report = await ev.finish()
    await bench.until(lambda: bool(bench.charger.ended), "end of the session")
    await bench.until(lambda: bench.charger.phases[-1:] == ["none"], "a car that is gone")  # told a moment later
    return report


def test_the_next_car_starts_with_nothing_of_the_one_before(tmp_path: Path) -> None:
    async def act(bench: Stand) -> None:
        orderly(bench, await charge(bench, "--bidirectional", seconds=0.3))
        seen = len(bench.charger.cars)
        bench.charger.phases.clear()
        bench.charger.ended.clear()
        report = await charge(bench, "--protocol", "din", "--soc", "0.2", seconds=0.3)
        assert report["successful"], report
        later = bench.charger.cars[seen:]
        assert {car.protocol for car in later} == {"", "din"}
        assert all(car.discharge_max_a is None and car.capacity_wh is None for car in later if car.protocol == "din")

    play(tmp_path, act)


# Runs at the car's end of the wires: asks once who serves, and says whether anybody answered.
DISCOVERY = """
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.settimeout(1.5)
sock.sendto(bytes.fromhex("01fe9000000000021000"), ("::1", 15118))
print(len(sock.recv(64)))
"""


def test_a_car_that_has_gone_is_not_waited_for_and_the_next_one_is_served_at_once(tmp_path: Path) -> None:
    """The package tells the end of a session after 2 s, and serves nobody for 5 s."""

    async def act(bench: Stand) -> None:
        ev = await bench.ev("--bidirectional")
        await bench.phase("transfer")
        await ev.say(stop=True)
        await ev.finish()
        began = time.monotonic()
        await bench.until(lambda: bool(bench.charger.ended), "end of the session")
        assert time.monotonic() - began < 1.5
        process = await asyncio.create_subprocess_exec(
            *bench.wires.ev, *(str(SECC_PYTHON), "-c", DISCOVERY), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60.0)
        assert out.decode().strip() == "28"
        assert time.monotonic() - began < 4.5

    play(tmp_path, act)


# Runs at the car's end of the wires; prints what became of a TLS connection.
HANDSHAKE = """
import socket, ssl, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.sendto(bytes.fromhex("01fe9000000000020000"), ("::1", 15118))
answer = sock.recv(64)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(sys.argv[1] + "/vehicle/charger_roots.pem")
version, certificate, curve = sys.argv[2:5]
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
if certificate != "none":
    context.load_cert_chain(certificate + "/vehicle/chain.pem", certificate + "/vehicle/key.pem")
if curve != "any":
    context.set_ecdh_curve(curve)
try:
    with socket.create_connection(("::1", int.from_bytes(answer[24:26], "big")), 5) as raw:
        with context.wrap_socket(raw) as tls:
            tls.settimeout(1.5)
            try:
                print("closed" if tls.recv(1) == b"" else "spoke")
            except TimeoutError:
                print("open")
except (ssl.SSLError, OSError):
    print("refused")
"""


@pytest.mark.parametrize(
    ("version", "certificate", "curve", "outcome"),
    [
        ("TLSv1_3", "own", "any", {"open"}),
        ("TLSv1_3", "none", "any", {"closed", "refused"}),
        ("TLSv1_3", "foreign", "any", {"closed", "refused"}),
        ("TLSv1_3", "own", "secp521r1", {"open"}),
        ("TLSv1_3", "own", "X448", {"open"}),
        ("TLSv1_2", "none", "any", {"open"}),
        ("TLSv1_2", "own", "any", {"open"}),
    ],
)
def test_who_may_connect(
    tmp_path: Path, pki: Path, version: str, certificate: str, curve: str, outcome: set[str]
) -> None:
    foreign = tmp_path / "foreign"
    if certificate == "foreign":
        command = [str(SECC_PYTHON), "-P", str(ROOT / "firmware/bridges/secc/pki.py"), str(foreign)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    shown = {"own": str(pki), "foreign": str(foreign), "none": "none"}[certificate]

    async def act(bench: Stand) -> None:
        process = await asyncio.create_subprocess_exec(
            *bench.wires.ev,
            *(str(SECC_PYTHON), "-c", HANDSHAKE, str(pki), version, shown, curve),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60.0)
        assert out.decode().strip() in outcome, err.decode()

    play(tmp_path, act, "--pki", str(pki))


def test_a_pki_is_never_overwritten(pki: Path) -> None:
    before = (pki / "charger" / "key.pem").read_bytes()
    command = [str(SECC_PYTHON), "-P", str(ROOT / "firmware/bridges/secc/pki.py"), str(pki)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is not empty; nothing was changed" in done.stderr
    assert (pki / "charger" / "key.pem").read_bytes() == before
    assert (pki / "charger" / "key.pem").stat().st_mode & 0o077 == 0
