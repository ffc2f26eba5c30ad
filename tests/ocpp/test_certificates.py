"""Roots that the back end adds: only good ones, named by their hashes, believed from the next connection on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from firmware.bridges.ocpp.certificates import BACK_END, KEPT, MAX_ROOTS, installed
from firmware.bridges.ocpp.dialect import V16, V21, Dialect
from firmware.bridges.ocpp.signature import hash_data
from firmware.bridges.ocpp.transport import NoConnection
from tests.ocpp.back_end import WALL_S, registered, view
from tests.ocpp.certificates import Authority, self_signed, signed_with_sha1
from tests.ocpp.test_transport import Pki, reach, refused
from tests.ocpp.wire import ALL


@pytest.fixture
def root(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "new-root", now_s=WALL_S)


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_a_root_is_installed_listed_and_deleted(dialect: Dialect, root: Authority) -> None:
    charger, box, peer = registered(dialect)
    kind = BACK_END if dialect.two else "CentralSystemRootCertificate"
    pem = root.file.read_text()
    for _ in range(2):  # the same one again changes nothing
        answer = peer.ask(charger, "InstallCertificate", {"certificateType": kind, "certificate": pem})
        assert answer == {"status": "Accepted"}
    asked = {"certificateType": [BACK_END] if dialect.two else kind}
    listed = peer.ask(charger, "GetInstalledCertificateIds", asked)
    chain = listed["certificateHashDataChain" if dialect.two else "certificateHashData"]
    (data,) = [entry.get("certificateHashData", entry) for entry in chain]
    assert installed(box.state(KEPT), BACK_END).strip() == pem.strip()
    other = ["ManufacturerRootCertificate"] if dialect.two else "ManufacturerRootCertificate"
    assert peer.ask(charger, "GetInstalledCertificateIds", {"certificateType": other}) == {"status": "NotFound"}
    charger.observe(view(1.0))
    peer.settle(charger, 1.0)
    (event,) = peer.told("SecurityEventNotification")
    assert event["type"] == "ReconfigurationOfSecurityParameters"
    assert peer.ask(charger, "DeleteCertificate", {"certificateHashData": data | {"serialNumber": "1"}}) == {
        "status": "NotFound"
    }
    assert peer.ask(charger, "DeleteCertificate", {"certificateHashData": data}) == {"status": "Accepted"}
    assert box.state(KEPT) is None


def test_the_hashes_are_those_of_ocsp(root: Authority, tmp_path: Path) -> None:
    for file in (root.file, signed_with_sha1(tmp_path)[2]):
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, hashes.SHA256()).build()
        data = hash_data(file.read_text(), "SHA256")
        assert data["issuerNameHash"] == request.issuer_name_hash.hex()
        assert data["issuerKeyHash"] == request.issuer_key_hash.hex()
        assert int(data["serialNumber"], 16) == request.serial_number


def test_what_is_no_root_or_not_ours_is_refused(root: Authority, tmp_path: Path) -> None:
    charger, box, peer = registered(V21)
    pem = root.file.read_text()
    day = timedelta(days=1)
    old = Authority(tmp_path, "old-root", now_s=WALL_S - 9 * day.total_seconds()).file.read_text()
    wrong = [
        ("V2GRootCertificate", pem),
        (BACK_END, "x"),
        (BACK_END, pem + pem),
        (BACK_END, old),
        (BACK_END, self_signed(tmp_path, "own")[0].read_text()),
        (BACK_END, root.issue("leaf")[0].read_text()),
    ]
    for kind, text in wrong:
        answer = peer.ask(charger, "InstallCertificate", {"certificateType": kind, "certificate": text})
        assert answer["status"] == "Rejected", kind
        assert answer["statusInfo"]["additionalInfo"]
    assert box.state(KEPT) is None
    for n in range(MAX_ROOTS + 1):
        text = Authority(tmp_path, f"r{n}", now_s=WALL_S).file.read_text()
        answer = peer.ask(charger, "InstallCertificate", {"certificateType": BACK_END, "certificate": text})
        assert (answer["status"] == "Accepted") is (n < MAX_ROOTS)


def test_1_6_has_its_own_refusal(root: Authority) -> None:
    charger, _, peer = registered(V16)
    request = {"certificateType": "CentralSystemRootCertificate", "certificate": "x"}
    assert peer.ask(charger, "InstallCertificate", request) == {"status": "Rejected"}


def test_a_server_of_an_added_root_is_believed_and_of_another_not(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    certificate, key, _ = Authority(tmp_path, "second").issue("moved")
    context = pki.server(certificate, key)
    assert isinstance(refused(pki.profile(2), context), NoConnection)
    more = (tmp_path / "second.pem").read_text()
    reach(pki.profile(2, more_roots=more), subprotocols=["ocpp2.1"], ssl=context)
