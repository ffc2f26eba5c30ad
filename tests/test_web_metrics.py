"""`/metrics` of the service screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import boards
from firmware import metrics
from firmware.recorder.reader import FILE, Reader
from firmware.recorder.store import Store
from tests.fake_charger import Served, served
from tests.test_recorder_store import trip
from tests.view_snapshot import snapshot

pytest.importorskip("starlette", reason="the extra `web` is not installed")
from starlette.testclient import TestClient

from firmware.web.access import Role, save_password
from firmware.web.gate import Gate
from firmware.web.scrape import credentials
from firmware.web.screen import Screen


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, snapshot()) as charger:
        yield charger


def browser(run_dir: Path, now: list[float] | None = None) -> TestClient:
    clock = now or [1000.0]
    gate = Gate(run_dir, True, 8080, lambda: clock[0])
    screen = Screen(boards.load("desk", run_dir), run_dir, gate, lambda: clock[0], lambda: 1.7e9)
    return TestClient(screen.app, base_url="http://localhost:8080", client=("127.0.0.1", 50000))


def test_the_page_is_what_the_command_prints(tmp_path: Path, charger: Served) -> None:
    answer = browser(tmp_path).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    assert 'quadrant_state{state="transfer: charging"} 1.0' in answer.text
    assert "content-security-policy" in answer.headers


def test_a_page_of_another_name_does_not_read_it(tmp_path: Path, charger: Served) -> None:
    assert browser(tmp_path).get("/metrics", headers={"host": "evil.example"}).status_code == 403


def test_with_passwords_a_scraper_logs_in_as_a_role(tmp_path: Path, charger: Served) -> None:
    save_password(tmp_path, Role.VIEWER, "seeing is all")
    client = browser(tmp_path)
    refused = client.get("/metrics")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    for wrong in (("viewer", "no"), ("operator", "seeing is all"), ("nobody", "seeing is all")):
        assert client.get("/metrics", auth=wrong).status_code == 401
    for _ in range(2):  # the second time from memory
        assert client.get("/metrics", auth=("viewer", "seeing is all")).status_code == 200
    assert client.get("/metrics", auth=("viewer", "no")).status_code == 401
    save_password(tmp_path, Role.VIEWER, "changed since")
    changed = browser(tmp_path)
    assert changed.get("/metrics", auth=("viewer", "seeing is all")).status_code == 401


def test_guessing_gets_slow(tmp_path: Path, charger: Served) -> None:
    save_password(tmp_path, Role.VIEWER, "seeing is all")
    client = browser(tmp_path)
    codes = [client.get("/metrics", auth=("viewer", f"guess {k}")).status_code for k in range(8)]
    assert codes[-1] == 429


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Basic /w==", "Bearer x", "Basic " + "A" * 3000])
def test_a_header_that_is_none_names_nobody(header: str) -> None:
    assert credentials(header)[0] is None


def test_without_a_charger_the_target_is_down(tmp_path: Path) -> None:
    assert browser(tmp_path).get("/metrics").status_code == 503


def test_who_looks_at_a_record_has_read_it_and_the_list_is_short(tmp_path: Path, charger: Served) -> None:
    store = Store.open(tmp_path / FILE)
    store.record(1.7e9, "b", trip(), header={"settings": {"a": 1}})
    store.close()
    client = browser(tmp_path)
    (shown,) = client.get("/api/records").json()["records"]
    assert (shown["read"], "header" in shown) == (False, False)
    record = client.get(f"/api/records/{shown['id']}").json()
    assert record["header"] == {"settings": {"a": 1}}
    assert Reader(tmp_path / FILE).unread_trips() == 0
    assert client.get("/api/records/99").status_code == 404
