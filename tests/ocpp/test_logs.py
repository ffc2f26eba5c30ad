"""GetLog and GetDiagnostics: statuses, retries, replacement; and a real upload to a real server."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.bridges.ocpp.dialect import V16, V21, Dialect
from firmware.bridges.ocpp.jobs import Download, Job, Outcome, Upload, unusable
from firmware.bridges.ocpp.logs import JOB
from firmware.bridges.ocpp.worker import FILE, Threads
from tests.ocpp.back_end import Hands, registered, view
from tests.ocpp.wire import ALL
from tests.waiting import wait

all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
URL = "http://logs.example/in"


def get_log(**more: Any) -> dict[str, Any]:
    kind = more.pop("kind", "DiagnosticsLog")
    return {"log": {"remoteLocation": more.pop("url", URL)}, "logType": kind, "requestId": 5, **more}


def statuses(peer: Any) -> list[str]:
    return [p["status"] for a, p in peer.calls if a in ("LogStatusNotification", "DiagnosticsStatusNotification")]


@all_versions
def test_a_log_is_uploaded_and_each_step_told(dialect: Dialect) -> None:
    hands = Hands()
    charger, _, peer = registered(dialect, worker=hands)
    answer = peer.ask(charger, "GetLog", get_log())
    assert answer["status"] == "Accepted"
    charger.observe(view(1.0))
    (job,) = hands.jobs
    assert isinstance(job, Upload)
    assert job.url == f"{URL}/{answer['filename']}"
    peer.settle(charger, 1.0)
    hands.end(JOB)
    charger.observe(view(2.0))
    peer.settle(charger, 2.0)
    assert statuses(peer) == ["Uploading", "Uploaded"]
    assert {p["requestId"] for p in peer.told("LogStatusNotification")} == {5}


@pytest.mark.parametrize(
    ("code", "status"), [("403", "PermissionDenied"), ("405", "NotSupportedOperation"), ("failed", "UploadFailure")]
)
def test_what_fails_is_tried_again_as_often_as_asked_and_then_told(code: str, status: str) -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    peer.ask(charger, "GetLog", get_log(retries=2, retryInterval=10))
    now = 1.0
    for n in range(3):
        charger.observe(view(now))
        assert len(hands.jobs) == n + 1
        hands.end(JOB, code, "no")
        charger.observe(view(now + 1.0))
        charger.observe(view(now + 10.0))  # not yet due
        assert len(hands.jobs) == n + 1
        now += 11.5
    peer.settle(charger, now)
    assert statuses(peer) == ["Uploading", status]


def test_a_new_request_takes_the_place_of_the_one_that_goes_on() -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    peer.ask(charger, "GetLog", get_log())
    charger.observe(view(1.0))
    assert peer.ask(charger, "GetLog", get_log(requestId=6), 1.0)["status"] == "AcceptedCanceled"
    charger.observe(view(2.0))
    hands.end(JOB)
    charger.observe(view(3.0))
    peer.settle(charger, 3.0)
    told = [(p["requestId"], p["status"]) for p in peer.told("LogStatusNotification")]
    assert told == [(5, "Uploading"), (5, "AcceptedCanceled"), (6, "Uploading"), (6, "Uploaded")]
    assert hands.cancelled == [JOB]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://logs.example/in"},
        {"url": "http:///in"},
        {"url": "http://[::1/in"},
        {"kind": "DataCollectorLog"},
        {"log": {"remoteLocation": URL, "oldestTimestamp": "2026-02-01T00:00:00Z",
                 "latestTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)  # fmt: skip
def test_what_cannot_be_uploaded_is_refused_with_a_reason_and_nothing_begins(wrong: dict[str, Any]) -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    answer = peer.ask(charger, "GetLog", get_log(**wrong))
    assert answer["status"] == "Rejected"
    assert answer["statusInfo"]["additionalInfo"]
    charger.observe(view(1.0))
    assert hands.jobs == []


def test_get_diagnostics_of_1_6_has_its_own_words() -> None:
    hands = Hands()
    charger, _, peer = registered(V16, worker=hands)
    assert peer.ask(charger, "GetDiagnostics", {"location": "ftp://x/"}) == {}
    assert peer.ask(charger, "GetDiagnostics", {"location": URL})["fileName"].endswith(".jsonl")
    charger.observe(view(1.0))
    hands.end(JOB, "500", "no")
    charger.observe(view(2.0))
    peer.settle(charger, 2.0)
    assert [p["status"] for p in peer.told("DiagnosticsStatusNotification")] == ["Uploading", "UploadFailed"]


def test_the_security_log_holds_what_happened_within_the_bounds() -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    charger.security("InvalidTLSVersion", "first")
    charger.observe(view(10.0))
    charger.security("InvalidTLSCipherSuite", "second")
    charger.observe(view(7200.0))
    bounds = {"remoteLocation": URL, "oldestTimestamp": "2026-11-20T12:00:00Z"}
    peer.ask(charger, "GetLog", {"log": bounds, "logType": "SecurityLog", "requestId": 1}, 7200.0)
    charger.observe(view(7201.0))
    (job,) = hands.jobs
    assert isinstance(job, Upload)
    assert [json.loads(line)["techInfo"] for line in job.body.splitlines()] == ["second"]


def test_a_back_end_that_asks_for_ever_and_never_answers_fills_no_memory() -> None:
    charger, _, peer = registered(V21, worker=Hands())
    for n in range(1000):
        for asked in ("LogStatusNotification", "FirmwareStatusNotification"):
            peer.ask(charger, "TriggerMessage", {"requestedMessage": asked}, n / 10)
        charger.tick(n / 10)
    peer.settle(charger, 200.0)
    assert sum(action.endswith("StatusNotification") for action, _ in peer.calls) < 200


def test_addresses_that_nothing_can_be_moved_to_are_named() -> None:
    for url in ("", "x", "ftp://h/", "http://", "http://h:99999/", "http://h/a b", "https://h\r\nX: y"):
        assert unusable(url), url
    assert not unusable("https://user:pw@h:8443/in?x=1")


# ------------------------------------------------------------------------------------------------------- real servers
class Files(http.server.BaseHTTPRequestHandler):
    """Takes what is put under /in, serves what it has, refuses the rest."""

    store: dict[str, tuple[bytes, str]]
    cut = False

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.path.startswith("/in/")
        if good:
            self.store[self.path] = body, self.headers.get("Authorization", "")
        self.send_response(201 if good else 403)
        self.end_headers()

    def do_GET(self) -> None:
        found = self.store.get(self.path)
        self.send_response(404 if found is None else 200)
        body = b"" if found is None else found[0]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.cut else body)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextlib.contextmanager
def file_server(cut: bool = False) -> Iterator[tuple[str, dict[str, tuple[bytes, str]]]]:
    handler = type("Store", (Files,), {"store": {}, "cut": cut})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", handler.store  # type: ignore[attr-defined]  # made above
        finally:
            server.shutdown()
            thread.join()


def done(worker: Threads, job: Job) -> Outcome:
    worker.begin("x", job)
    outcome: Outcome = wait(lambda: worker.outcome("x"), "the end of the job", every_s=0.002)
    return outcome


def test_a_real_upload_arrives_whole_with_its_user_and_a_refusal_is_named(tmp_path: Path) -> None:
    asked: list[tuple[float | None, float | None]] = []

    def collect(oldest_s: float | None, latest_s: float | None) -> bytes:
        asked.append((oldest_s, latest_s))
        return b"line\n" * 100_000

    worker = Threads(tmp_path, collect)
    with file_server() as (host, store):
        assert done(worker, Upload(f"http://cp:pw@{host}/in/a.jsonl", "diagnostics", b"", 1.0, 2.0)) == Outcome()
        assert store["/in/a.jsonl"] == (b"line\n" * 100_000, f"Basic {base64.b64encode(b'cp:pw').decode()}")
        assert asked == [(1.0, 2.0)]
        assert done(worker, Upload(f"http://{host}/out/a", "security", b"x")).code == "403"
    assert done(worker, Upload("http://127.0.0.1:9/in/a", "security", b"x")).code == "failed"


def test_a_download_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    worker = Threads(tmp_path, lambda a, b: b"")
    with file_server() as (host, store):
        store["/fw"] = (b"f" * 300_000, "")
        assert done(worker, Download(f"http://{host}/fw")) == Outcome()
        assert (tmp_path / FILE).read_bytes() == store["/fw"][0]
        assert done(worker, Download(f"http://{host}/none")).code == "404"
    (tmp_path / FILE).unlink()
    with file_server(cut=True) as (host, store):
        store["/fw"] = (b"f" * 300_000, "")
        assert done(worker, Download(f"http://{host}/fw")).code == "failed"
    assert list(tmp_path.iterdir()) == []
