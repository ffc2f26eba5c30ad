"""New certificates of ours: asked for with a fresh key that stays here, taken only when they are what was asked for."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.certificates import BACK_END
from firmware.bridges.ocpp.client_certificate import KEPT, ClientCertificate
from firmware.bridges.ocpp.client_keys import Keys, KeysError
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.network import Profile
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.report import station_report
from firmware.bridges.ocpp.signature import hash_data
from firmware.bridges.ocpp.station import Station
from tests.ocpp.back_end import WALL_S, WHO, BackEnd, station, view
from tests.ocpp.certificates import Authority
from tests.ocpp.wire import ALL

all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
DAY_S = 86_400.0
HOUR = timedelta(hours=1)


@dataclass
class Charger:
    """A registered charger with keys, and its back end. `at` is now."""

    folder: Path
    dialect: Dialect
    root: Authority
    organization: str = "Power & Sons"
    board: Path | None = None
    answers: dict[str, Any] = field(default_factory=lambda: {"SignCertificate": {"status": "Accepted"}})
    at: float = 0.0
    on_disk: bool = False

    def __post_init__(self) -> None:
        self.keys = Keys(self.folder / "keys", self.board)
        self.box = Outbox(self.folder / "q" if self.on_disk else ":memory:")
        self.start()
        self.peer = BackEnd(self.dialect, **self.answers)
        self.connect()
        if self.organization:
            self.station.tune.organization = self.organization

    def start(self) -> None:
        way = Profile("wss://localhost", "CP-1", 3, "", self.root.file, self.root.file, self.root.file)
        self.station, _, self.said = station(self.box, way=way, keys=self.keys)
        self.station.tune.organization = self.organization
        self.station.credentials.of(way)

    def connect(self) -> None:
        self.look(0.0)
        self.station.connected(self.at, self.dialect)
        self.look(0.0)

    def look(self, after_s: float) -> None:
        """Later, a look at the charger; then it says all that it has to say."""
        self.at += after_s
        self.station.observe(view(self.at))
        self.peer.settle(self.station, self.at)

    def trigger(self) -> str:
        two = self.dialect.two
        asked = "SignChargingStationCertificate" if two else "SignChargePointCertificate"
        action = "TriggerMessage" if two else "ExtendedTriggerMessage"
        answer = self.peer.ask(self.station, action, {"requestedMessage": asked}, self.at)
        self.peer.settle(self.station, self.at)
        return str(answer["status"])

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.peer.told("SignCertificate")

    def sign(self, **wrong: Any) -> str:
        return self.root.sign(self.requests[-1]["csr"], WALL_S + self.at, **wrong)

    def give(self, chain: str, **more: Any) -> Any:
        payload: dict[str, Any] = {"certificateChain": chain, **more}
        if self.dialect.two:
            payload.setdefault("certificateType", "ChargingStationCertificate")
        if self.dialect.name == "2.1":
            payload.setdefault("requestId", self.requests[-1]["requestId"] if self.requests else 1)
        return self.peer.ask(self.station, "CertificateSigned", payload, self.at)

    def events(self) -> list[str]:
        if self.station.done:
            self.station.disconnected(self.at)
            self.station.connected(self.at, self.dialect)
        self.look(1.0)
        return [event["type"] for event in self.peer.told("SecurityEventNotification")]


Make = Callable[..., Charger]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    names = itertools.count()

    def new(dialect: Dialect, **more: Any) -> Charger:
        folder = tmp_path / str(next(names))
        folder.mkdir()
        root = more.pop("root", None) or Authority(tmp_path, "root", now_s=WALL_S, days=2000)
        return Charger(folder, dialect, root, **more)

    return new


def secret_of(keys: Path) -> str:
    text = keys.read_text()
    return text[text.index("-----BEGIN PRIVATE") : text.index("-----END PRIVATE")].split("\n")[1]


@all_versions
def test_a_certificate_is_asked_for_and_taken_and_its_key_is_seen_nowhere_else(dialect: Dialect, make: Make) -> None:
    charger = make(dialect, on_disk=True)
    assert charger.trigger() == "Accepted"
    (request,) = charger.requests
    asked = x509.load_pem_x509_csr(request["csr"].encode())
    assert asked.is_signature_valid
    assert [str(a.value) for a in asked.subject] == [WHO.serial, "Power & Sons"]
    assert isinstance(asked.public_key(), ec.EllipticCurvePublicKey)
    assert set(request) == {"csr"} | ({"certificateType"} if dialect.two else set()) | (
        {"requestId"} if dialect.name == "2.1" else set()
    )
    folder = charger.folder / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    secret = secret_of(folder / "asked.key")
    assert charger.give(charger.sign()) == {"status": "Accepted"}
    assert charger.station.reconnect
    assert [file.name for file in folder.iterdir()] == ["new.pem"]
    assert (folder / "new.pem").stat().st_mode & 0o777 == 0o600
    assert secret_of(folder / "new.pem") == secret
    assert charger.events() == ["ReconfigurationOfSecurityParameters"]
    told = str((charger.peer.calls, charger.peer.others, station_report(charger.station, charger.at)))
    assert secret not in told
    assert secret not in (charger.folder / "q").read_text(errors="replace")
    charger.keys.settle(works=True)
    assert charger.keys.used is not None
    assert charger.keys.new is None


def name_of(common: str, organization: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "another key"),
    "another charger": ({"name": name_of("2", "Power & Sons")}, "CN is 2, not 1"),
    "another owner": ({"name": name_of(WHO.serial, "Thieves")}, "O is Thieves"),
    "nobody's": ({"name": name_of(WHO.serial, "x").__class__([])}, "CN is missing"),
    "expired": ({"start": -3 * HOUR, "end": -HOUR}, "not valid now"),
    "of tomorrow": ({"start": HOUR}, "not valid now"),
    "a minute ahead": ({"start": timedelta(minutes=1)}, "not valid now"),
    "an authority's": ({"add": [x509.BasicConstraints(ca=True, path_length=None)]}, "authority"),
    "a server's": ({"add": [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]}, "not for clients"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_certificate_that_is_not_what_was_asked_for_is_refused_and_the_right_one_still_taken(
    fault: str, make: Make
) -> None:
    wrong, says = WRONG[fault]
    charger = make(V21)
    charger.trigger()
    answer = charger.give(charger.sign(**wrong))
    assert answer["status"] == "Rejected"
    assert says in answer["statusInfo"]["additionalInfo"]
    assert not charger.station.reconnect
    assert charger.keys.new is None
    assert charger.events() == ["InvalidChargingStationCertificate"]
    good = [x509.BasicConstraints(ca=False, path_length=None), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]
    assert charger.give(charger.sign(start=timedelta(seconds=5), add=good)) == {"status": "Accepted"}


@all_versions
def test_what_no_root_of_ours_stands_for_nobody_asked_for_or_is_no_certificate_is_refused(
    dialect: Dialect, make: Make, tmp_path: Path
) -> None:
    charger = make(dialect)
    stranger = Authority(tmp_path, "stranger", now_s=WALL_S, days=2000)
    assert charger.give("x")["status"] == "Rejected"  # before anything was asked for
    charger.trigger()
    csr = charger.requests[-1]["csr"]
    foreign = stranger.sign(csr, WALL_S)
    assert charger.give(foreign)["status"] == "Rejected"
    assert charger.give("x")["status"] == "Rejected"
    assert charger.give(charger.sign() + stranger.file.read_text())["status"] == "Rejected"  # those above are no chain
    name = "InvalidChargingStationCertificate" if dialect.two else "InvalidChargePointCertificate"
    assert set(charger.events()) == {name}
    if dialect.two:
        assert charger.give(charger.sign(), certificateType="V2GCertificate")["status"] == "Rejected"
    if dialect.name == "2.1":
        assert charger.give(charger.sign(), requestId=charger.requests[-1]["requestId"] + 1)["status"] == "Rejected"
    kind = BACK_END if dialect.two else "CentralSystemRootCertificate"
    root = {"certificateType": kind, "certificate": stranger.file.read_text()}
    assert charger.peer.ask(charger.station, "InstallCertificate", root, charger.at) == {"status": "Accepted"}
    assert charger.give(foreign) == {"status": "Accepted"}


def test_an_authority_between_with_a_weak_key_is_refused_because_openssl_would_take_no_such_file(
    make: Make, tmp_path: Path
) -> None:
    charger = make(V21)
    charger.root = Authority(tmp_path, "root", now_s=WALL_S, days=2000, depth=1)
    weak, name = rsa.generate_private_key(65537, 1024), name_of("weak", "x")
    charger.trigger()
    csr = charger.requests[-1]["csr"]
    ca = [x509.BasicConstraints(ca=True, path_length=0)]
    between = charger.root.sign(csr, WALL_S, key=weak.public_key(), name=name, add=ca)
    middle = Authority(tmp_path, "middle", now_s=WALL_S)
    middle._key, middle._name = weak, name  # type: ignore[assignment]
    chain = middle.sign(csr, WALL_S) + between
    answer = charger.give(chain)
    assert "too weak" in answer["statusInfo"]["additionalInfo"]
    with pytest.raises(KeysError, match="OpenSSL does not take"):
        charger.keys.take(chain)
    assert charger.keys.new is None


@all_versions
def test_the_connection_is_not_made_anew_while_a_call_of_ours_is_open(dialect: Dialect, make: Make) -> None:
    charger = make(dialect)
    charger.trigger()
    beat = "Heartbeat"
    charger.peer.answers[beat] = None
    charger.peer.ask(charger.station, "TriggerMessage", {"requestedMessage": beat}, charger.at)
    charger.look(0.0)
    assert charger.give(charger.sign()) == {"status": "Accepted"}
    assert charger.station.reconnect
    assert not charger.station.done  # the heartbeat waits for its answer
    charger.look(31.0)
    assert charger.station.done
    told = len(charger.peer.calls)
    charger.look(1000.0)
    assert len(charger.peer.calls) == told  # and nothing new is begun


def test_certificates_between_are_kept_for_the_server_and_may_not_be_too_many_for_the_root(
    make: Make, tmp_path: Path
) -> None:
    for depth, status in ((1, "Accepted"), (0, "Rejected")):
        charger = make(V21)
        charger.root = Authority(tmp_path, "root", now_s=WALL_S, days=2000, depth=depth)
        middle = Authority(tmp_path, "middle", now_s=WALL_S, days=1)
        key, name = middle._key.public_key(), middle._name
        ca = [x509.BasicConstraints(ca=True, path_length=0)]
        charger.trigger()
        between = charger.root.sign(charger.requests[-1]["csr"], WALL_S, key=key, name=name, add=ca)
        chain = middle.sign(charger.requests[-1]["csr"], WALL_S) + between
        assert charger.give(chain)["status"] == status
        if status == "Accepted":
            assert (charger.folder / "keys" / "new.pem").read_text().count("BEGIN CERTIFICATE") == 2


@all_versions
def test_it_asks_again_after_waits_that_double_and_then_no_more_and_takes_what_comes_late(
    dialect: Dialect, make: Make
) -> None:
    charger = make(dialect)
    charger.station.tune.signing_wait_s, charger.station.tune.signing_repeats = 100.0, 2
    charger.trigger()
    for wait_s, count in ((99.0, 1), (1.0, 2), (199.0, 2), (1.0, 3), (100_000.0, 3)):
        charger.look(wait_s)
        assert len(charger.requests) == count
    assert len({request["csr"] for request in charger.requests}) == 1  # whichever is answered, it fits
    assert charger.give(charger.sign(end=timedelta(days=365))) == {"status": "Accepted"}
    charger.look(100_000.0)
    assert len(charger.requests) == 3


@all_versions
@pytest.mark.parametrize("answer", [{"status": "Rejected"}, "NotImplemented"])
def test_a_back_end_that_does_not_take_the_request_is_not_asked_again(
    dialect: Dialect, answer: Any, make: Make
) -> None:
    charger = make(dialect, answers={"SignCertificate": answer})
    charger.trigger()
    charger.look(100_000.0)
    assert len(charger.requests) == 1
    assert not list((charger.folder / "keys").iterdir())
    assert charger.give(charger.sign())["status"] == "Rejected"
    charger.peer.answers["SignCertificate"] = {"status": "Accepted"}
    charger.trigger()
    assert charger.requests[1]["csr"] != charger.requests[0]["csr"]
    assert charger.give(charger.sign()) == {"status": "Accepted"}


def test_a_request_without_an_answer_is_said_again_and_one_that_a_trigger_replaced_is_forgotten(make: Make) -> None:
    charger = make(V201, answers={"SignCertificate": None})
    charger.trigger()
    charger.station.disconnected(charger.at)
    charger.peer.answers["SignCertificate"] = {"status": "Accepted"}
    charger.station.connected(charger.at, V201)
    charger.look(0.0)
    assert len(charger.requests) == 1
    charger.look(61.0)
    assert len(charger.requests) == 2
    first = charger.sign()
    charger.trigger()
    assert charger.give(first)["status"] == "Rejected"
    assert charger.give(charger.sign()) == {"status": "Accepted"}


@all_versions
def test_while_the_registration_is_pending_it_is_asked_for_when_the_back_end_says_so_and_nothing_else_is_said(
    dialect: Dialect, make: Make, tmp_path: Path
) -> None:
    root = Authority(tmp_path, "root", now_s=WALL_S, days=2000)
    pending = {"currentTime": times.show(WALL_S), "interval": 300, "status": "Pending"}
    charger = make(dialect, root=root, board=board_of(root, 0.0), answers={
        "BootNotification": pending, "SignCertificate": {"status": "Accepted"}})  # fmt: skip
    charger.look(10.0)
    assert [action for action, _ in charger.peer.calls] == ["BootNotification"]  # it would be renewed, and waits
    assert charger.trigger() == "Accepted"
    charger.look(10.0)
    assert [action for action, _ in charger.peer.calls] == ["BootNotification", "SignCertificate"]
    assert charger.give(charger.sign()) == {"status": "Accepted"}
    assert charger.station.done


@all_versions
def test_what_is_open_goes_on_after_a_restart(dialect: Dialect, make: Make) -> None:
    charger = make(dialect)
    charger.station.tune.signing_wait_s = 100.0
    charger.trigger()
    charger.start()
    charger.station.tune.signing_wait_s = 100.0
    charger.connect()
    assert len(charger.requests) == 1
    charger.look(101.0)
    assert len(charger.requests) == 2
    assert charger.give(charger.sign()) == {"status": "Accepted"}


@pytest.mark.parametrize("kept", [7, {}, {"csr": "x", "id": 1, "sent": 0}, {"csr": 1, "id": 1, "sent": 0}, None])
def test_what_is_kept_of_a_request_and_cannot_be_understood_is_no_request(kept: Any, make: Make) -> None:
    charger = make(V21)
    charger.trigger()
    charger.box.keep(KEPT, kept)
    charger.start()
    charger.connect()
    assert charger.give(charger.sign())["status"] == "Rejected"


def test_without_an_owner_or_without_keys_nothing_is_asked_for(make: Make) -> None:
    charger = make(V21, organization="")
    assert charger.trigger() == "Rejected"
    assert any("OrganizationName" in sentence for sentence in charger.said)
    item = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"}, "attributeValue": "Me"}
    charger.peer.ask(charger.station, "SetVariables", {"setVariableData": [item]}, charger.at)
    assert charger.trigger() == "Accepted"
    charger.station.credentials.keys = None
    assert charger.trigger() == "Rejected"
    assert charger.give("x")["status"] == "Rejected"


def board_of(root: Authority, days: float) -> Path:
    """A certificate of the board that lasts so long from the beginning of the story."""
    start = timedelta(seconds=WALL_S - time.time())
    return root.issue("board", start=start, end=start + timedelta(days=days))[0]


@pytest.mark.parametrize(
    ("life_days", "quiet_days", "then_days"),
    [(365, 334, 2), (90, 59, 2), (30, 19, 2), (1, 0.6, 0.11)],  # a month before the end, or the last third
)
def test_it_is_renewed_before_its_end_by_the_charger_itself(
    life_days: float, quiet_days: float, then_days: float, make: Make, tmp_path: Path
) -> None:
    root = Authority(tmp_path, "root", now_s=WALL_S, days=2000)
    charger = make(V21, root=root, board=board_of(root, life_days))
    charger.look(quiet_days * DAY_S)
    assert charger.requests == []
    charger.look(then_days * DAY_S)
    assert len(charger.requests) == 1
    assert charger.give(charger.sign(end=timedelta(days=365))) == {"status": "Accepted"}
    charger.keys.settle(works=True)
    charger.look(DAY_S)
    assert len(charger.requests) == 1


def test_a_renewal_that_fails_is_begun_anew_the_next_day(make: Make, tmp_path: Path) -> None:
    root = Authority(tmp_path, "root", now_s=WALL_S, days=2000)
    charger = make(V21, root=root, board=board_of(root, 0.0), answers={"SignCertificate": {"status": "Rejected"}})
    assert len(charger.requests) == 1
    charger.look(DAY_S - 10.0)
    assert len(charger.requests) == 1
    charger.look(3600.0)
    assert len(charger.requests) == 2


@all_versions
def test_our_own_certificate_is_not_deleted(dialect: Dialect, make: Make, tmp_path: Path) -> None:
    charger = make(dialect)
    charger.trigger()
    pem = charger.sign()
    charger.give(pem)
    leaf = x509.load_pem_x509_certificate(pem.encode())
    data = hash_data(charger.root.file.read_text(), "SHA384") | {"serialNumber": f"{leaf.serial_number:X}"}
    assert charger.peer.ask(charger.station, "DeleteCertificate", {"certificateHashData": data}, charger.at) == {
        "status": "Failed"
    }


# ------------------------------------------------------------------------------------------------------------ the files
def took(keys: Keys, root: Authority) -> str:
    """What goes out; the certificate has been taken and tried."""
    csr = keys.ask("1", "Me")
    keys.take(root.sign(csr))
    keys.settle(works=True)
    return csr


@pytest.mark.parametrize("at", range(1, 10))
def test_killed_at_any_step_there_is_the_old_pair_or_the_new_one(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Authority(tmp_path, "root")
    keys = Keys(tmp_path / "keys")
    took(keys, root)
    old = keys.certificate
    steps = itertools.count(1)

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **more: Any) -> Any:
            if next(steps) == at:
                raise OSError("killed")
            return real(*args, **more)

        return instead

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", step(os.fsync))
        patch.setattr(Path, "replace", step(Path.replace))
        patch.setattr(Path, "unlink", step(Path.unlink))
        with contextlib.suppress(KeysError):
            took(keys, root)
    again = Keys(tmp_path / "keys")
    files = [file for file in (again.new, again.used) if file is not None]
    assert files
    for file in files:
        leaf = x509.load_pem_x509_certificate(file.read_bytes())
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert key.public_key() == leaf.public_key()
        assert file.stat().st_mode & 0o777 == 0o600
    assert again.certificate is not None
    assert next(steps) > at, "it was not killed"
    took(again, root)  # and what was left does not stand in the way
    assert again.certificate != old


def test_another_certificate_of_the_board_counts_again_and_a_damaged_file_does_not(tmp_path: Path) -> None:
    root = Authority(tmp_path, "root")
    board = root.issue("board")[0]
    keys = Keys(tmp_path / "keys", board)
    csr = took(keys, root)
    assert keys.used is not None
    kept = board.read_bytes()
    board.write_bytes(root.issue("fresh")[0].read_bytes())
    assert keys.used is None
    assert keys.certificate == x509.load_pem_x509_certificate(board.read_bytes())
    board.unlink()
    assert keys.used is not None
    board.write_bytes(kept)
    assert keys.used is not None
    keys.ask("1", "Me")
    assert not keys.waits(csr)
    (tmp_path / "keys" / "used.pem").write_text("x")
    assert keys.used is None
    assert Keys(tmp_path / "none").certificate is None


def test_a_disk_that_refuses_is_told_and_nothing_is_taken(make: Make) -> None:
    charger = make(V21)
    charger.trigger()
    (charger.folder / "keys" / "new.pem.part").mkdir()
    answer = charger.give(charger.sign())
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "InternalError")
    assert "cannot be kept" in answer["statusInfo"]["additionalInfo"]
    assert charger.keys.new is None


def test_what_the_charger_shows_of_it(make: Make) -> None:
    charger = make(V16)
    assert station_report(charger.station, 0.0)["client_certificate"] is None
    charger.trigger()
    charger.give(charger.sign())
    shown = station_report(charger.station, 0.0)["client_certificate"]
    assert shown["subject"] == "O=Power & Sons,CN=1"
    assert (shown["tried"], shown["asked_for"]) == (False, False)


def test_it_is_one_of_the_functions() -> None:
    charger, _, _ = station()
    assert isinstance(charger, Station)
    assert any(isinstance(function, ClientCertificate) for function in charger.functions)
