"""What a running charger leaves for engineers and machines: records, metrics, readiness, MQTT."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import comtrade
import pytest

from tests.mqtt.test_broker import MOSQUITTO, HomeAssistant, Mosquitto
from tests.system.charger import Charger, RigClient, board_file, note_memory, wait_for
from tests.system.conftest import clean_home
from tests.test_systemd import Manager


def free_tcp_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory for each test: what is counted in its records is of this test alone."""
    with clean_home(tmp_path_factory) as directory:
        yield directory


def test_a_service_manager_hears_when_the_charger_is_ready_that_it_lives_and_that_it_stops(
    start: Callable[..., Charger], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager(f"@quadrant-system-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    heard: list[tuple[float, str]] = []

    def hears(line: str) -> bool:
        heard.extend((time.monotonic(), found) for found in manager.heard())
        return any(found == line for _, found in heard)

    charger = start(plug_in=False)
    wait_for("readiness", lambda: hears("READY=1"))
    assert charger.fresh()  # ready means that guard reports
    note_memory(home)

    def pulses() -> int:
        hears("")
        return sum(line == "WATCHDOG=1" for _, line in heard)

    wait_for("its pulse", lambda: pulses() >= 3)
    environment = Path(f"/proc/{charger.guard}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in environment
    charger.process.terminate()
    assert charger.wait_end() == 0, charger.story()
    assert hears("STOPPING=1")
    manager.close()


def test_a_trip_of_real_processes_leaves_a_record_that_opens_elsewhere_and_counts_as_unread_until_it_is_read(
    start: Callable[..., Charger], home: Path
) -> None:
    charger = start()
    wait_for("guard is heard", charger.snapshot, every_s=0.05)
    note_memory(home)
    charger.ask("power", power_w=-8000.0, for_s=300.0)
    charger.wait_power(-8000.0)
    rig = RigClient(home)
    rig.ask(plant={"f_hz": 55.0})

    def listed() -> list[dict[str, object]]:
        done = charger.cli("records", "list", "--json")
        return list(json.loads(done.stdout)) if done.returncode == 0 else []

    (shown,) = wait_for("the record", listed, every_s=0.2)
    rig.close()
    assert (shown["code"], shown["read"]) == ("grid_trip", False)
    assert "quadrant_records_unread_trips 1.0" in charger.cli("metrics").stdout
    wait_for("its files", lambda: len(list((home / "trips").glob("trip-*.cfg"))))
    record = comtrade.load(str(next((home / "trips").glob("trip-*.cff"))), ignore_warnings=True)
    (trip,) = charger.events("grid_trip")
    header = json.loads(record.hdr)
    assert header["event"]["t_mono"] == trip["t"]
    assert header["settings_hash"] in charger.events("grid_code")[0]["detail"]  # what guard itself says
    at = min(range(record.total_samples), key=lambda k: abs(record.time[k] - record.trigger_time))
    assert abs(record.time[at] - record.trigger_time) < 1e-4
    power = record.analog[record.analog_channel_ids.index("p_ac_w")]
    assert -8800.0 < power[at - 2] < -7000.0
    on = record.status[record.status_channel_ids.index("command_on")]
    assert (on[at - 1], on[at]) == (1, 0)
    assert record.time[-1] - record.trigger_time == pytest.approx(2.0, abs=0.1)
    assert charger.cli("records", "export", "--out", str(home / "exported")).returncode == 0
    assert "quadrant_records_unread_trips 0.0" in charger.cli("metrics").stdout
    assert charger.cli("records", "trigger").returncode == 0
    wait_for("the record of now", lambda: len(listed()) == 2, every_s=0.2)
    charger.process.terminate()
    assert charger.wait_end() == 0, charger.words


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_metrics_over_http_and_a_set_point_over_mqtt_that_moves_the_power(home: Path) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("paho.mqtt.client")
    directory = home / "mqtt"
    directory.mkdir()
    web_port, mqtt_port = free_tcp_port(), free_tcp_port()
    broker = Mosquitto(directory, mqtt_port)
    (directory / "password").write_text("secret\n")
    board = board_file(directory / "board.toml", own_rig=True, web_port=web_port)
    section = (
        f'[mqtt]\nhost = "127.0.0.1"\nport = {mqtt_port}\nusername = "charger"\n'
        f'password_file = "{directory / "password"}"\nnode = "garage"\ncommands = true\nlease_s = 60.0\n\n'
    )
    board.write_text(board.read_text().replace("[rig]", section + "[rig]"))
    charger = Charger(board, directory)
    house = HomeAssistant(mqtt_port)
    try:
        wait_for("guard is heard", charger.snapshot, every_s=0.05)
        note_memory(directory)
        charger.wait_state("transfer: charging")
        house.say("quadrant/garage/set/set_point", "-4000")
        charger.wait_power(-4000.0)
        wait_for("the power at home", lambda: '"mode": "set-point"' in house.last("quadrant/garage/state"))
        assert charger.fresh()["asked_by"] == "mqtt"
        house.say("quadrant/garage/set/min_soc", "100")  # the reserve binds the set-point too
        wait_for("no discharge", lambda: abs(charger.snapshot().get("measured_w") or 0.0) < 300.0)
        with urlopen(f"http://127.0.0.1:{web_port}/metrics", timeout=60.0) as page:
            text = page.read().decode()
        assert "quadrant_snapshot_age_seconds" in text
        assert charger.ask("status")["problems"] == []
        charger.process.terminate()
        assert charger.wait_end() == 0, charger.words
        wait_for("its last word", lambda: house.last("quadrant/garage/availability") == "offline")
    finally:
        house.close()
        charger.end()
        broker.kill()
