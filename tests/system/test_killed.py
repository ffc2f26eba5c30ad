"""What is killed, and what hangs, in the middle of a transfer: the plant's recording says when the current was gone.

One rig outlives all chargers of this module, so that the plant tells the story to its end. Times are measured from
the signal to the plant's current and contactors, and printed (`pytest -s`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware.guard import numbers as n
from tests.system.charger import ZERO_A, Charger, Rig, alive, tell_end, wait_for

MCU_TIMEOUT_S = 0.3  # hil/devices/pilot.py, as docs/drivers/pilot_mcu.md says of the real one
LEASE_S = 2.0  # policy.lease_s of the board
RAMP_S = 73.3 / n.RAMP_DOWN_A_PER_S  # from the highest current to zero
NOMINAL_V = 230.0
AT_REST = ("finished", "fault", "connected", "idle")
LAST_FRAME_S = 0.1  # guard's last frame may be so old at the kill: a period, and what a busy machine adds
CONTACTOR_S = 0.03  # hil/plant/contactors.py
BOUND_S = 0.6  # what is promised: from the death of guard to no current and open contactors


@pytest.fixture(scope="module")
def charger(rig: Rig, home: Path) -> Iterator[Charger]:
    charger = Charger(home / "board.toml", home)
    yield charger
    charger.end()


@pytest.fixture
def start(rig: Rig, home: Path) -> Iterator[Callable[[], Charger]]:
    """Start another charger at the same rig; ended with the test."""
    with contextlib.ExitStack() as stack:

        def begin() -> Charger:
            charger = Charger(home / "board.toml", home)
            stack.callback(charger.end)
            return charger

        yield begin


def into_transfer(charger: Charger, rig: Rig, power_w: float = 11_000.0) -> None:
    """A session from rest: faults acknowledged, the car wants it, the power that is asked for flows."""
    wait_for("guard is heard", charger.snapshot, every_s=0.05)
    charger.ask("power", power_w=power_w, for_s=120.0, reason="test")
    if not str(charger.snapshot().get("state")).startswith("transfer"):
        charger.ask("clear")
        begin(charger, rig)
    charger.wait_power(power_w)


def begin(charger: Charger, rig: Rig) -> None:
    """The car wants a session. It listens only when it has ended its last one, so it is told until one begins."""

    def begun() -> bool:
        rig.client.ask(device="car", plug_in=True)
        return str(charger.snapshot().get("state", "")).startswith("cable check")

    wait_for("a session begins", begun, every_s=0.3)


def kill(pid: int, number: signal.Signals) -> float:
    """Send the signal; CLOCK_MONOTONIC seconds of it."""
    t = time.monotonic()
    os.kill(pid, number)
    return t


def test_killed_services_end_the_power_and_lose_no_energy(charger: Charger, rig: Rig) -> None:
    into_transfer(charger, rig, -7_000.0)
    guard, services = charger.guard, charger.services
    with rig.client.recording("services") as finish:
        time.sleep(1.0)
        before = charger.ask("status")
        t = kill(services, signal.SIGKILL)
        wait_for("new services", lambda: charger.running("firmware.services") not in (None, services))
        charger.wait_state(*AT_REST)
        time.sleep(0.2)
        after = charger.ask("status")
        record = finish()
    zero_s, _ = tell_end("kill -9 of services while discharging", record, t)
    assert zero_s < LEASE_S + RAMP_S
    assert charger.guard == guard
    # The register moved by what guard counted: nothing lost, nothing twice. And guard counted what the plant carried.
    assert after["snapshot"]["boot"] == before["snapshot"]["boot"]
    counted = after["snapshot"]["discharged_wh"] - before["snapshot"]["discharged_wh"]
    booked = after["energy"]["discharged_wh"] - before["energy"]["discharged_wh"]
    span = [s for s in record.t if before["snapshot"]["t"] <= s <= after["snapshot"]["t"]]
    plant_wh = -sum(record.at("dc_v_v", s) * record.at("dc_i_a", s) for s in span) * 0.001 / 3600.0
    print(f"energy over the kill: booked {booked:.3f} Wh, guard {counted:.3f} Wh, plant {plant_wh:.3f} Wh")
    assert counted > 0.0
    assert booked == pytest.approx(counted, abs=1e-6)
    assert counted == pytest.approx(plant_wh, rel=0.1)
    wait_for("the event", lambda: charger.events("services_restarted", t))
    assert after["request"]["power_w"] == -7_000.0, "what was asked for is forgotten"


@pytest.mark.parametrize("power_w", [-7_000.0, 11_000.0])
def test_a_killed_guard_ends_in_no_current_and_open_contactors(charger: Charger, rig: Rig, power_w: float) -> None:
    into_transfer(charger, rig, power_w)
    guard = charger.guard
    with rig.client.recording("guard") as finish:
        time.sleep(0.3)
        before = charger.ask("status")["energy"]
        t = kill(guard, signal.SIGKILL)
        wait_for("a new guard", lambda: charger.running("firmware.guard") not in (None, guard))
        charger.wait_state(*AT_REST)
        record = finish()
    zero_s, dc_s = tell_end(f"kill -9 of guard at {power_w / 1000:+.0f} kW", record, t)
    assert abs(record.at("cable_i_a", t)) > 15.0
    # By the MCU's time-out, not by luck: guard's last frame counts until then.
    assert MCU_TIMEOUT_S - LAST_FRAME_S < zero_s < BOUND_S
    assert MCU_TIMEOUT_S - LAST_FRAME_S < dc_s < BOUND_S
    after = [k for s, k in zip(record.t, record["k_dc"], strict=True) if s > t + dc_s + 0.01]
    assert not any(after), "the contactor closed again by itself"
    assert "--restarted" in Path(f"/proc/{charger.guard}/cmdline").read_text().split("\0")
    wait_for("the event", lambda: charger.events("guard_restarted", t))
    # Lost is at most what flowed after guard's last report (0.1 s) and without guard (BOUND_S); nothing goes back.
    after_energy = charger.ask("status")["energy"]
    for register in ("charged_wh", "discharged_wh"):
        assert 0.0 <= after_energy[register] - before[register] <= abs(power_w) * BOUND_S / 3600.0


def test_after_a_killed_guard_a_session_starts_again(charger: Charger, rig: Rig) -> None:
    into_transfer(charger, rig)
    assert rig.client.read("cable_i_a") > 25.0


def test_a_hanging_guard_ends_as_a_killed_one(charger: Charger, rig: Rig) -> None:
    into_transfer(charger, rig)
    guard = charger.guard
    with rig.client.recording("hang") as finish:
        time.sleep(0.3)
        t = kill(guard, signal.SIGSTOP)
        time.sleep(1.0)
        record = finish()
    zero_s, dc_s = tell_end("SIGSTOP of guard", record, t)
    assert MCU_TIMEOUT_S - LAST_FRAME_S < zero_s < BOUND_S
    assert MCU_TIMEOUT_S - LAST_FRAME_S < dc_s < BOUND_S
    status = charger.ask("status")
    assert any("Guard is silent" in problem for problem in status["problems"])
    # The supervisor finds out, kills what hangs and starts another.
    wait_for("another guard", lambda: charger.running("firmware.guard") not in (None, guard), every_s=0.1)
    assert not alive(guard)
    charger.wait_state(*AT_REST)
    assert "Guard hangs and is killed" in charger.words


def test_while_services_hang_grid_protection_acts_and_the_power_ends(charger: Charger, rig: Rig) -> None:
    """A sag 50 ms after they hang, before guard can notice that, and over before guard ends the session."""
    into_transfer(charger, rig, -7_000.0)
    services = charger.services
    with rig.client.recording("stopped") as finish:
        time.sleep(0.3)
        t = kill(services, signal.SIGSTOP)
        time.sleep(0.05)
        rig.client.ask(plant={"sag": 0.2, "duration_s": 0.15})
        time.sleep(LEASE_S + RAMP_S + 0.5)
        kill(services, signal.SIGKILL)
        record = finish()
    sag_t = record.first("pcc_va_v", lambda v: v < 0.5 * NOMINAL_V, t)
    off_s = record.first("conv_on", lambda on: on == 0.0, sag_t) - sag_t
    zero_s = record.first("dc_i_a", lambda i: abs(i) < ZERO_A, sag_t) - sag_t
    print(f"\nsag to 0.2 pu while services hang: converter off after {off_s:.3f} s, no current after {zero_s:.3f} s")
    assert record.at("cable_i_a", sag_t - 0.01) < -15.0, "it did not discharge when the sag came"
    # IEEE 1547-2018 table 16, Category III: momentary cessation below 0.5 p.u. within 0.083 s.
    assert zero_s < 0.083
    zero_s, _ = tell_end("SIGSTOP of services", record, t)
    assert zero_s < LEASE_S + RAMP_S
    # What guard did while nobody listened is in the records of the next services.
    wait_for("new services", lambda: charger.running("firmware.services") not in (None, services))
    charger.wait_state(*AT_REST)
    (ceased, *_) = wait_for("the event of the sag", lambda: charger.events("grid_cease", t))
    assert ceased["t"] == pytest.approx(sag_t, abs=0.1)


def test_a_converter_that_falls_silent_is_told_and_the_contactors_open(charger: Charger, rig: Rig) -> None:
    """Its process hangs, so its power stage goes on with what it was told last: only the contactors end that."""
    into_transfer(charger, rig)
    guard, services = charger.guard, charger.services
    with rig.client.recording("converter") as finish:
        time.sleep(0.3)
        t = kill(rig.devices["hil.devices.converter"], signal.SIGSTOP)
        wait_for("the fault", lambda: "converter_lost" in charger.snapshot().get("faults", ()))
        time.sleep(0.5)
        record = finish()
    kill(rig.devices["hil.devices.converter"], signal.SIGCONT)
    dc_s = record.first("k_dc", lambda k: k == 0.0, t) - t
    print(f"\nSIGSTOP of the converter: DC contactor open after {dc_s:.3f} s")
    assert (charger.guard, charger.services) == (guard, services)
    assert "Traceback" not in charger.log("guard") + charger.log("services")


def test_a_killed_supervisor_takes_everything_with_it_in_order(
    charger: Charger, rig: Rig, start: Callable[[], Charger]
) -> None:
    into_transfer(charger, rig)
    guard, services = charger.guard, charger.services
    with rig.client.recording("supervisor") as finish:
        time.sleep(0.3)
        t = kill(charger.process.pid, signal.SIGKILL)
        wait_for("the end of services", lambda: not alive(services))
        late = start()
        assert late.wait_end() == 1
        wait_for("the end of guard", lambda: not alive(guard))
        took_s = time.monotonic() - t
        record = finish()
    _, dc_s = tell_end(f"kill -9 of the supervisor (guard ended after {took_s:.1f} s)", record, t)
    assert "its guard still winds down" in late.words
    assert dc_s < 1.0
    assert record["k_grid"][-1] == 0.0
    assert charger.wait_end() == -signal.SIGKILL


def test_a_second_ctrl_c_ends_at_once_and_the_mcu_opens(rig: Rig, start: Callable[[], Charger]) -> None:
    """In the cable check: contactors are closed and the cable is at test voltage."""
    charger = start()
    wait_for("guard is heard", charger.snapshot, every_s=0.05)
    begin(charger, rig)
    charger.wait_state("cable check: insulation monitor self-test")
    assert rig.client.read("k_dc") == 1.0
    with rig.client.recording("twice") as finish:
        charger.signal(signal.SIGINT)
        t = time.monotonic()
        charger.signal(signal.SIGINT)
        code = charger.wait_end()
        took_s = time.monotonic() - t
        time.sleep(0.6)
        record = finish()
    dc_s = record.first("k_dc", lambda k: k == 0.0, t) - t
    print(f"\nsecond SIGINT: exit after {took_s:.2f} s, DC contactor open after {dc_s:.3f} s")
    assert code == 128 + signal.SIGINT
    assert "Ended at once" in charger.words
    assert dc_s < BOUND_S
    assert record["k_dc"][-1] == record["k_grid"][-1] == 0.0


def test_devices_that_vanish_are_told_and_guard_finds_them_when_they_come_back(
    rig: Rig, start: Callable[[], Charger]
) -> None:
    """All devices are gone at once, serial nodes too: what a charger sees when a USB hub fails, and then recovers."""
    charger = start()
    wait_for("the converter is there", lambda: charger.snapshot().get("converter_ready"), every_s=0.05)
    services, boot = charger.services, charger.fresh()["boot"]
    t = kill(rig.devices["hil.devices.meters:dc"], signal.SIGKILL)
    assert rig.process.wait(15.0) == 1
    assert rig.process.stderr is not None
    assert "The dc_meter ended by itself" in rig.process.stderr.read()
    # The coils fall with the MCU, so the converter has no supply either and is not missed: the MCU is what is lost.
    wait_for("the event", lambda: charger.events("pilot_lost", t))
    wait_for("the problems", lambda: len(charger.ask("status")["problems"]) >= 3, every_s=0.1)
    problems = charger.ask("status")["problems"]
    print("\n" + "\n".join(problems))
    told = {problem.split(":")[0] for problem in problems}
    assert {"Insulation monitor", "DC meter", "AC meter"} <= told
    # An open descriptor never comes back when its device does: guard ends at rest, and a new one looks for the node.
    wait_for("guard gives up", lambda: "serial line is gone" in charger.log("guard"))
    again = Rig(charger.dir / "board.toml", charger.dir)
    try:
        wait_for("a new guard", lambda: charger.snapshot().get("boot", boot) != boot, every_s=0.1)
        wait_for("the converter again", lambda: charger.snapshot().get("converter_ready"), every_s=0.1)
        assert charger.services == services
        charger.signal(signal.SIGTERM)
        assert charger.wait_end() == 0
        assert "Traceback" not in charger.log("guard") + charger.log("services")
    finally:
        again.end()
