"""Firmware by the back end: only what is signed, each step told, over power; with real signatures and a real server."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.availability import REASON
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.firmware_update import JOB, KEPT
from firmware.bridges.ocpp.jobs import Download, Install, Verify
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.signature import roots_of, signature_objection, signer_objection
from firmware.bridges.ocpp.station import Station
from firmware.bridges.ocpp.view import Phase
from firmware.bridges.ocpp.worker import FILE, Threads
from tests.ocpp.back_end import WALL_S, BackEnd, Hands, registered, station, view
from tests.ocpp.certificates import Authority, self_signed
from tests.ocpp.test_logs import done, file_server
from tests.ocpp.wire import ALL

URL = "http://fw.example/a.bin"
PAST = "2026-01-01T00:00:00Z"


def update(**more: Any) -> dict[str, Any]:
    outside = {key: more.pop(key) for key in ("retries", "retryInterval", "requestId") if key in more}
    firmware = {"location": URL, "retrieveDateTime": PAST, "signingCertificate": "c", "signature": "s", **more}
    given = {key: value for key, value in firmware.items() if value is not None}
    return {"requestId": 5, "firmware": given, **outside}


def action(dialect: Dialect) -> str:
    return "UpdateFirmware" if dialect.two else "SignedUpdateFirmware"


def statuses(peer: BackEnd) -> list[str]:
    return [p["status"] for a, p in peer.calls if a.endswith("FirmwareStatusNotification")]


def look(charger: Station, peer: BackEnd, t: float, phase: Phase = Phase.FREE) -> None:
    charger.observe(view(t, phase))
    peer.settle(charger, t)


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_the_way_of_an_update_is_told_step_by_step(dialect: Dialect) -> None:
    hands = Hands()
    charger, _, peer = registered(dialect, worker=hands)
    assert peer.ask(charger, action(dialect), update()) == {"status": "Accepted"}
    for n in range(4):
        look(charger, peer, 1.0 + n)
        if n < 3:
            hands.end(JOB)
            look(charger, peer, 1.5 + n)
    assert [type(job) for job in hands.jobs] == [Download, Verify, Install]
    assert statuses(peer) == ["Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed"]
    assert [e["type"] for e in peer.told("SecurityEventNotification")] == ["FirmwareUpdated"]


def test_where_somebody_starts_the_charger_again_installed_is_told_by_the_new_version(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q")
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands, restarts=True, outbox=box)
    peer.ask(charger, "UpdateFirmware", update())
    for n in range(3):
        look(charger, peer, 1.0 + n)
        hands.end(JOB)
        look(charger, peer, 1.5 + n)
    assert statuses(peer)[-1] == "InstallRebooting"
    assert "installed" in charger.orders(5.0).hold
    assert not charger.orders(5.0).reset
    assert charger.orders(20.0).reset
    assert box.state(REASON) == "FirmwareUpdate"
    box.close()
    for runs, status in (("0.1.0", "InstallationFailed"), ("0.2.0", "Installed")):
        copy = tmp_path / runs
        copy.write_bytes((tmp_path / "q").read_bytes())
        box = Outbox(copy)
        kept = box.state(KEPT)
        box.keep(KEPT, {**kept, "from": "0.1.0" if runs == "0.1.0" else "0.0.9"})
        again, _, _ = station(box, worker=Hands(), restarts=True)
        peer = BackEnd(V21)
        again.observe(view(1.0))
        again.connected(1.0, V21)
        peer.settle(again, 1.0)
        assert statuses(peer) == [status]
        assert peer.told("BootNotification")[0]["reason"] == "FirmwareUpdate"
        assert not again.orders(99.0).reset
        box.close()


@pytest.mark.parametrize(
    ("fails", "status"), [(0, "DownloadFailed"), (1, "InvalidSignature"), (2, "InstallationFailed")]
)
def test_each_step_can_fail_and_ends_the_update(fails: int, status: str) -> None:
    hands = Hands()
    charger, box, peer = registered(V201, worker=hands)
    peer.ask(charger, "UpdateFirmware", update())
    for n in range(fails + 1):
        look(charger, peer, 1.0 + n)
        hands.end(JOB, "failed" if n == fails else "", "it is broken")
        look(charger, peer, 1.5 + n)
    look(charger, peer, 9.0)
    assert statuses(peer)[-1] == status
    assert len(hands.jobs) == fails + 1
    assert box.state(KEPT) is None
    told = [e["type"] for e in peer.told("SecurityEventNotification")]
    assert told == (["InvalidFirmwareSignature"] if fails == 1 else [])
    assert charger.orders(9.0).hold == ""


def test_times_retries_and_a_running_session_are_waited_for() -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    later = {"retrieveDateTime": times.show(WALL_S + 100.0), "installDateTime": times.show(WALL_S + 300.0)}
    peer.ask(charger, "UpdateFirmware", update(retries=1, retryInterval=20, **later))
    look(charger, peer, 50.0)
    assert hands.jobs == []
    look(charger, peer, 101.0)
    hands.end(JOB, "failed", "no")
    look(charger, peer, 102.0)
    look(charger, peer, 110.0)
    assert len(hands.jobs) == 1
    look(charger, peer, 123.0)
    hands.end(JOB)
    look(charger, peer, 124.0)
    hands.end(JOB)
    look(charger, peer, 125.0)
    look(charger, peer, 290.0)
    look(charger, peer, 310.0, Phase.CHARGING)
    look(charger, peer, 320.0, Phase.CHARGING)
    assert not any(isinstance(job, Install) for job in hands.jobs)
    look(charger, peer, 330.0)
    assert isinstance(hands.jobs[-1], Install)
    assert statuses(peer) == [
        "DownloadScheduled", "Downloading", "Downloaded", "SignatureVerified", "InstallScheduled", "Installing",
    ]  # fmt: skip


def test_a_new_request_takes_the_place_of_the_old_one_until_something_is_installed() -> None:
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands)
    peer.ask(charger, "UpdateFirmware", update())
    look(charger, peer, 1.0)
    assert peer.ask(charger, "UpdateFirmware", update(requestId=6), 1.0) == {"status": "AcceptedCanceled"}
    assert hands.cancelled == [JOB]
    for n in range(3):
        look(charger, peer, 2.0 + n)
        if n < 2:
            hands.end(JOB)
            look(charger, peer, 2.5 + n)
    assert isinstance(hands.jobs[-1], Install)
    assert peer.ask(charger, "UpdateFirmware", update(requestId=7), 5.0)["status"] == "Rejected"


@pytest.mark.parametrize(
    ("request_", "hands", "status"),
    [
        (update(signature=None), Hands(), "Rejected"),
        (update(signingCertificate=None), Hands(), "Rejected"),
        (update(location="ftp://x/y"), Hands(), "Rejected"),
        (update(), Hands(installs=False), "Rejected"),
        (update(), None, "Rejected"),
        (update(), Hands(signer="a stranger"), "InvalidCertificate"),
    ],
)
def test_what_cannot_or_must_not_be_installed_is_refused(
    request_: dict[str, Any], hands: Hands | None, status: str
) -> None:
    charger, box, peer = registered(V21, worker=hands)
    answer = peer.ask(charger, "UpdateFirmware", request_)
    assert answer["status"] == status
    assert answer["statusInfo"]["additionalInfo"]
    look(charger, peer, 1.0)
    assert box.state(KEPT) is None
    told = [e["type"] for e in peer.told("SecurityEventNotification")]
    assert told == (["InvalidFirmwareSigningCertificate"] if status == "InvalidCertificate" else [])


def test_unsigned_updates_of_1_6_are_not_supported() -> None:
    charger, _, peer = registered(V16, worker=Hands())
    peer.ask(charger, "UpdateFirmware", {"location": URL, "retrieveDate": PAST})
    assert peer.others[-1][2] == "NotSupported"


def test_a_restart_fetches_anew_what_was_not_installed_and_gives_up_what_was_begun(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "q")
    hands = Hands()
    charger, _, peer = registered(V21, worker=hands, outbox=box)
    peer.ask(charger, "UpdateFirmware", update())
    look(charger, peer, 1.0)
    again, _, _ = station(box, worker=(hands := Hands()))
    again.observe(view(2.0))
    assert [type(job) for job in hands.jobs] == [Download]
    for n in range(2):
        hands.end(JOB)
        again.observe(view(3.0 + n))
        again.observe(view(3.5 + n))
    assert isinstance(hands.jobs[-1], Install)
    third, _, said = station(box, worker=(hands := Hands()))
    third.observe(view(9.0))
    assert hands.jobs == []
    assert any("InstallationFailed" in sentence for sentence in said)


# --------------------------------------------------------------------------------------------------------- signatures
IMAGE = os.urandom(100_000)
DIGEST = hashlib.sha256(IMAGE).digest()


def signer(root: Authority, name: str = "signer", **more: Any) -> tuple[str, ec.EllipticCurvePrivateKey]:
    certificate, key_file, _ = root.issue(name, **more)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return certificate.read_text(), key


def test_only_a_signer_of_the_roots_and_only_its_own_signature_is_believed(tmp_path: Path) -> None:
    root, other, day = Authority(tmp_path, "root"), Authority(tmp_path, "other"), timedelta(days=1)
    roots, now_s = roots_of(root.file.read_bytes()), times.parse(times.show(_now()))
    good, key = signer(root)
    assert signer_objection(good, roots, now_s) == ""
    stale, _ = signer(root, "stale", start=-3 * day, end=-day)
    stranger, _ = signer(other, "stranger")
    own = self_signed(tmp_path, "own")[0].read_text()
    for wrong in (stale, stranger, own, "", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"):
        assert signer_objection(wrong, roots, now_s), wrong
    assert signer_objection(stranger + root.file.read_text(), roots, now_s), "a root beside it is no chain"
    weak, _ = signer(root, "not a CA")
    assert signer_objection(signer(other, "x")[0] + weak, roots, now_s), "who may not sign certificates"
    signature = base64.b64encode(key.sign(IMAGE, ec.ECDSA(hashes.SHA256()))).decode()
    assert signature_objection(good, signature, DIGEST) == ""
    assert signature_objection(good, signature, hashlib.sha256(IMAGE + b"x").digest())
    assert signature_objection(stranger, signature, DIGEST)
    assert signature_objection(good, "no base64!", DIGEST)
    assert signature_objection(good, "", DIGEST)


def _now() -> float:
    import time

    return time.time()


def test_rsa_pss_is_known_and_a_short_key_is_not_believed(tmp_path: Path) -> None:
    from tests.ocpp.certificates import DAY, _builder, _name

    for bits, good in ((2048, True), (1024, False)):
        key = rsa.generate_private_key(65537, bits)
        builder = _builder(_name("rsa"), _name("rsa"), key.public_key(), -DAY, DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        assert (signer_objection(pem, [certificate], _now()) == "") is good
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        signature = base64.b64encode(key.sign(IMAGE, scheme, hashes.SHA256())).decode()
        assert signature_objection(pem, signature, DIGEST) == ""


def test_a_real_file_is_fetched_verified_and_installed_and_a_changed_one_is_not(tmp_path: Path) -> None:
    root = Authority(tmp_path, "root")
    certificate, key = signer(root)
    signature = base64.b64encode(key.sign(IMAGE, ec.ECDSA(hashes.SHA256()))).decode()
    installer = tmp_path / "install"
    installer.write_text('#!/bin/sh\n[ -e "$0.broken" ] && { echo "slot B is full" >&2; exit 3; }\ncp "$1" "$0.done"\n')
    installer.chmod(installer.stat().st_mode | stat.S_IXUSR)
    worker = Threads(tmp_path, lambda a, b: b"", installer, root.file)
    assert worker.installs
    assert worker.signer(certificate, _now(), "") == ""
    stranger, _ = signer(Authority(tmp_path, "second"), "second signer")
    assert worker.signer(stranger, _now(), "")
    assert worker.signer(stranger, _now(), (tmp_path / "second.pem").read_text()) == ""
    with file_server() as (host, store):
        store["/fw"] = (IMAGE, "")
        for step in (Download(f"http://{host}/fw"), Verify(certificate, signature), Install(certificate, signature)):
            assert done(worker, step).code == ""
        assert (tmp_path / "install.done").read_bytes() == IMAGE
        assert not (tmp_path / FILE).exists()
        (tmp_path / "install.done").unlink()
        assert done(worker, Download(f"http://{host}/fw")).code == ""
        (tmp_path / FILE).write_bytes(IMAGE[:-1] + b"!")  # changed while it waited
        assert done(worker, Install(certificate, signature)).code == "failed"
        assert not (tmp_path / "install.done").exists()
        (tmp_path / "install.broken").touch()
        done(worker, Download(f"http://{host}/fw"))
        assert "slot B is full" in done(worker, Install(certificate, signature)).sentence
