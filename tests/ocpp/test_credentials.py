"""What we are known by changes: the new is tried, the old stays until a connection has decided. Real TLS where it says
so: servers that believe the new certificate or password, and servers that do not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from firmware.bridges.ocpp.bridge import Settings
from firmware.bridges.ocpp.client_keys import Keys
from firmware.bridges.ocpp.credentials import KEPT, Credentials
from firmware.bridges.ocpp.dialect import V16, V21, V201, Dialect
from firmware.bridges.ocpp.network import NetworkError, Profile, check
from firmware.bridges.ocpp.outbox import Outbox
from firmware.bridges.ocpp.report import station_report
from firmware.bridges.ocpp.view import Phase
from hil.csms.server import Charger, Csms
from tests.ocpp.back_end import WHO, registered, view
from tests.ocpp.certificates import Authority
from tests.ocpp.test_bridge import Desk
from tests.ocpp.test_transport import PASSWORD, Pki, port_of
from tests.ocpp.wire import ALL
from tests.waiting import until

NEW = "new-password-0123456"
BINARY = bytes(range(240, 256)) + b"abcd"
WAY = Profile("ws://one.example", "CP-1", 1, PASSWORD)
all_versions = pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)


def setting(dialect: Dialect, value: str) -> tuple[str, dict[str, Any]]:
    if not dialect.two:
        return "ChangeConfiguration", {"key": "AuthorizationKey", "value": value}
    item = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}, "attributeValue": value}
    return "SetVariables", {"setVariableData": [item]}


def status(answer: Any) -> str:
    return str(answer["setVariableResult"][0]["attributeStatus"] if "setVariableResult" in answer else answer["status"])


# ---------------------------------------------------------------------------------------------------------- a password
@all_versions
def test_a_new_password_counts_for_the_next_connection_is_kept_and_shown_to_nobody(
    dialect: Dialect, tmp_path: Path
) -> None:
    box = Outbox(tmp_path / "q")
    charger, _, peer = registered(dialect, way=WAY, outbox=box)
    charger.credentials.of(WAY)
    assert not charger.reconnect
    assert status(peer.ask(charger, *setting(dialect, NEW))) == "Accepted"
    assert charger.done
    charger.disconnected(0.5)
    charger.connected(0.5, dialect)
    assert not charger.done
    charger.observe(view(1.0))
    peer.settle(charger, 1.0)
    assert [e["type"] for e in peer.told("SecurityEventNotification")] == ["ReconfigurationOfSecurityParameters"]
    asked = ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}) if dialect.two else (
        "GetConfiguration", {})  # fmt: skip
    peer.ask(charger, *asked)
    peer.settle(charger, 1.0)
    assert NEW not in str((peer.calls, peer.others[1:], station_report(charger, 1.0)))
    assert charger.credentials.of(WAY).password == NEW
    again, _, _ = registered(dialect, way=WAY, outbox=box)
    assert again.credentials.of(WAY).password == NEW
    assert again.credentials.stood() == "taken password"
    last, _, _ = registered(dialect, way=WAY, outbox=box)
    assert last.credentials.of(WAY).password == NEW
    assert last.credentials.stood() == ""
    assert (tmp_path / "q").stat().st_mode & 0o777 == 0o600


@all_versions
@pytest.mark.parametrize("text", ["", "short", "x" * 41, "x" * 20 + "\n", "ab" * 21])
def test_what_can_be_no_password_is_refused(dialect: Dialect, text: str) -> None:
    charger, box, peer = registered(dialect, way=WAY)
    charger.credentials.of(WAY)
    assert status(peer.ask(charger, *setting(dialect, text))) == "Rejected"
    assert box.state(KEPT) is None
    assert not charger.reconnect


def test_1_6_sends_it_as_hexadecimal_bytes_and_2_x_as_it_is() -> None:
    for dialect, expected in ((V16, BINARY), (V201, BINARY.hex())):
        charger, box, peer = registered(dialect, way=WAY)
        charger.credentials.of(WAY)
        assert status(peer.ask(charger, *setting(dialect, BINARY.hex()))) == "Accepted"
        way = Credentials(box).of(WAY)
        assert way.password == expected
        check(way)
        token = base64.b64decode(way.headers()["Authorization"].removeprefix("Basic "))
        assert token == b"CP-1:" + (expected if isinstance(expected, bytes) else expected.encode())
    with pytest.raises(NetworkError, match="16 to 20 bytes"):
        check(Profile("ws://one.example", "CP-1", 1, b"short"))


@pytest.mark.parametrize(
    "way",
    [
        Profile("wss://one.example", "CP-1", 3, "", Path("ca"), Path("c"), Path("k")),
        Profile("ws://two.example", "CP-1", 1, "of-this-way-alone", own_password=True),
    ],
    ids=["a certificate", "a password of its own"],
)
def test_a_way_that_does_not_use_it_cannot_get_a_new_one(way: Profile) -> None:
    charger, _, peer = registered(V21, way=WAY)
    charger.credentials.of(way)
    assert status(peer.ask(charger, *setting(V21, NEW))) == "Rejected"
    assert charger.credentials.of(WAY).password == PASSWORD
    assert charger.credentials.of(way) == way


@pytest.mark.parametrize(
    "kept",
    [
        7,
        "x",
        {},
        {"now": 1, "new": None, "late": False, "board": None},
        {"now": None, "new": ["zz"], "late": False, "board": None},
        {"now": "short", "new": None, "late": False, "board": None},
        {"now": None, "new": NEW, "late": 1, "board": None},
    ],
)
def test_what_is_kept_and_cannot_be_understood_is_the_boards(kept: Any) -> None:
    box = Outbox(":memory:")
    box.keep(KEPT, kept)
    assert Credentials(box).of(WAY) == WAY


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12), st.booleans())
def test_old_and_new_take_turns_by_rounds_in_which_somebody_refused_and_the_one_that_stands_remains(
    tries: list[tuple[bool, bool]], again: bool
) -> None:
    """A try: whether somebody refused us, and whether the round is over."""
    box = Outbox(":memory:")
    credentials = Credentials(box)
    credentials.of(WAY)
    credentials.set_password(NEW, hexadecimal=False)
    old = refused = False
    for this, over in tries:
        assert credentials.of(WAY).password == (PASSWORD if old else NEW)
        credentials.failed(this, over)
        refused |= this
        if over:
            old, refused = old is not refused, False
    expected, other = (PASSWORD, NEW) if old else (NEW, NEW)
    assert credentials.of(WAY).password == expected
    assert credentials.stood() == ("dropped password" if old else "taken password")
    for after in (credentials, Credentials(box)):
        for _ in range(2):
            assert after.of(WAY).password == expected
            after.failed(refused=False, round_over=True)  # nobody is there
            assert after.of(WAY).password == expected
            assert after.stood() == ""
            after.failed(refused=True, round_over=True)
            assert after.of(WAY).password == other  # whoever set it may be back
            after.failed(refused=True, round_over=True)
    if again:
        credentials.set_password(PASSWORD[::-1], hexadecimal=False)
        assert credentials.of(WAY).password == PASSWORD[::-1]


def test_a_new_password_that_was_not_taken_is_taken_when_who_set_it_is_back() -> None:
    box = Outbox(":memory:")
    credentials = Credentials(box)
    credentials.of(WAY)
    credentials.set_password(NEW, hexadecimal=False)
    credentials.failed(refused=True, round_over=True)
    credentials.of(WAY)
    assert credentials.stood() == "dropped password"
    again = Credentials(box)
    again.of(WAY)
    again.failed(refused=True, round_over=True)
    assert again.of(WAY).password == NEW
    assert again.stood() == "taken password"
    for after in (again, Credentials(box)):
        after.failed(refused=True, round_over=True)
        assert after.of(WAY).password == NEW


def test_another_password_of_the_board_counts_again() -> None:
    charger, box, peer = registered(V21, way=WAY)
    charger.credentials.of(WAY)
    peer.ask(charger, *setting(V21, NEW))
    for way, expected in ((WAY, NEW), (replace(WAY, url="ws://two.example"), NEW)):
        assert Credentials(box).of(way).password == expected
    fresh = replace(WAY, password="written-by-somebody")
    again = Credentials(box)
    assert again.of(fresh) == fresh
    assert again.stood() == ""
    again.set_password(NEW[::-1], hexadecimal=False)
    assert Credentials(box).of(fresh).password == NEW[::-1]


# ------------------------------------------------------------------------------------------------- over real sockets
def desk_of(ways: list[Profile], keys: Keys | None = None, dialect: Dialect = V21) -> Desk:
    return Desk(Settings(ways, [dialect], WHO, 60.0, 60.0, False, (0.01, 0.0, 0)), keys=keys)


def events(charger: Charger) -> list[str]:
    return [payload["type"] for action, payload in charger.told if action == "SecurityEventNotification"]


async def registered_again(desk: Desk, csms: Csms, before: Charger) -> Charger:
    """The connection that follows, with the charger registered on it."""

    def there() -> Charger | None:
        desk.see(Phase.FREE)
        charger = csms.chargers.get("CP-1")
        return charger if charger is not None and charger is not before and desk.bridge.station.online else None

    found: Charger = await until(there, "the next connection")
    return found


@pytest.mark.parametrize("dialect", [V16, V21], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("believes", [True, False])
def test_a_server_that_takes_only_the_new_password_and_one_that_goes_on_with_the_old(
    believes: bool, dialect: Dialect
) -> None:
    csms, takes, seen = Csms(), [PASSWORD], list[str]()

    def guard(connection: ServerConnection, request: Request) -> Response | None:
        pair = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        seen.append(pair.partition(":")[2])
        return None if seen[-1] in takes else connection.respond(http.HTTPStatus.UNAUTHORIZED, "")

    async def main() -> None:
        protocol: Any = [dialect.subprotocol]
        async with serve(csms._connected, "127.0.0.1", 0, subprotocols=protocol, process_request=guard) as server:
            way = Profile(f"ws://127.0.0.1:{port_of(server)}", "CP-1", 1, PASSWORD)
            async with desk_of([way], dialect=dialect) as desk:
                desk.see(Phase.FREE)
                charger = await until(lambda: desk.bridge.station.online and csms.chargers.get("CP-1"), "registration")
                if believes:
                    takes[:] = [NEW]
                assert status(await charger.call(*setting(dialect, NEW))) == "Accepted"
                charger = await registered_again(desk, csms, charger)
                assert seen == [PASSWORD, NEW] if believes else [PASSWORD, NEW, NEW, NEW, PASSWORD]
                wanted = "the new password; the old one is forgotten" if believes else "does not take the new password"
                await until(lambda: any(wanted in sentence for sentence in desk.said), wanted)

                def told() -> bool:
                    desk.see(Phase.FREE)
                    return "ReconfigurationOfSecurityParameters" in events(charger)

                await until(told, "the event")
                assert NEW not in str((desk.said, charger.told))

    asyncio.run(main())


class Tls:
    """A back end behind TLS of profile 3. `clients`: whose certificates it believes, to be changed while it runs."""

    def __init__(self, pki: Pki) -> None:
        self._pki = pki
        self.csms = Csms()
        self.clients = [pki.root]

    @contextlib.asynccontextmanager
    async def listen(self, dialect: Dialect, port: int = 0) -> AsyncIterator[int]:
        together = self._pki.folder / "clients.pem"
        together.write_bytes(b"".join(root.file.read_bytes() for root in self.clients))
        certificate, key, _ = self._pki.root.issue("server")
        context = self._pki.server(certificate, key, together)
        protocol: Any = [dialect.subprotocol]
        async with serve(self.csms._connected, "127.0.0.1", port, ssl=context, subprotocols=protocol) as server:
            yield port_of(server)


def seen_by(charger: Charger) -> str:
    """Common name and organization of the certificate that this connection came with."""
    layer = charger._socket.transport.get_extra_info("ssl_object")
    assert isinstance(layer, ssl.SSLObject)
    subject = (layer.getpeercert() or {})["subject"]
    return "/".join(value for part in subject for _, value in part)  # type: ignore[misc, union-attr, str-unpack]


async def renewed(charger: Charger, dialect: Dialect, signer: Authority) -> None:
    """The back end gives the charger a new certificate."""
    if dialect.two:
        name = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"}}
        await charger.call("SetVariables", {"setVariableData": [name | {"attributeValue": "Grid Co"}]})
        await charger.call("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"})
    else:
        await charger.call("ChangeConfiguration", {"key": "CpoName", "value": "Grid Co"})
        await charger.call("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
    request = await until(lambda: next((p for a, p in charger.told if a == "SignCertificate"), None), "the request")
    more = {key: request[key] for key in ("requestId",) if key in request}
    answer = await charger.call("CertificateSigned", {"certificateChain": signer.sign(request["csr"]), **more})
    assert answer == {"status": "Accepted"}


@all_versions
def test_a_certificate_is_renewed_and_used_against_a_real_server_of_profile_3(dialect: Dialect, tmp_path: Path) -> None:
    async def main() -> None:
        pki = Pki(tmp_path)
        tls, keys = Tls(pki), Keys(tmp_path / "keys")
        async with tls.listen(dialect) as port:
            way = pki.profile(3)(port)
            async with desk_of([way], keys, dialect) as desk:
                desk.see(Phase.FREE)
                first = await until(lambda: desk.bridge.station.online and tls.csms.chargers.get("CP-1"), "the first")
                assert seen_by(first) == "client"
                await renewed(first, dialect, pki.root)
                second = await registered_again(desk, tls.csms, first)
                assert seen_by(second) == "1/Grid Co"
                assert keys.used is not None
                assert keys.new is None
            async with desk_of([way], keys, dialect) as desk:  # started anew
                desk.see(Phase.FREE)
                third = await registered_again(desk, tls.csms, second)
                assert seen_by(third) == "1/Grid Co"
                assert desk.bridge.station.tune.organization == "Grid Co"  # what a renewal asks with

    asyncio.run(main())


def test_a_new_certificate_that_the_server_does_not_believe_is_dropped_for_the_old_and_the_back_end_hears_of_it(
    tmp_path: Path,
) -> None:
    """The charger's own check lets it through, because the back end installed that root; its TLS server was
    forgotten. There are two ways: both are tried with the new one before the old one counts again."""

    async def main() -> None:
        pki = Pki(tmp_path)
        other, tls, keys = Authority(tmp_path, "other"), Tls(pki), Keys(tmp_path / "keys")
        async with tls.listen(V21) as port, tls.listen(V21) as second_port:
            ways = [pki.profile(3)(port), pki.profile(3)(second_port)]
            async with desk_of(ways, keys) as desk:
                desk.see(Phase.FREE)
                first = await until(lambda: desk.bridge.station.online and tls.csms.chargers.get("CP-1"), "the first")
                root = {"certificateType": "CSMSRootCertificate", "certificate": other.file.read_text()}
                assert await first.call("InstallCertificate", root) == {"status": "Accepted"}
                await renewed(first, V21, other)
                again = await registered_again(desk, tls.csms, first)
                assert seen_by(again) == "client"
                assert keys.new is None
                assert keys.used is None
                refusals = [s for s in desk.said if "TLS" in s or "cannot be reached" in s or "no OCPP" in s]
                assert len(refusals) == 6

                def told() -> bool:
                    desk.see(Phase.FREE)
                    return "DiscardedRenewedClientCertificate" in events(again)

                await until(told, "the event")

    asyncio.run(main())


def test_a_server_that_is_away_is_no_reason_to_doubt_the_new_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        pki = Pki(tmp_path)
        tls, keys = Tls(pki), Keys(tmp_path / "keys")
        keys.take(pki.root.sign(keys.ask("1", "Grid Co")))
        async with tls.listen(V21) as port:
            pass  # nobody listens there any more
        async with desk_of([pki.profile(3)(port)], keys) as desk:
            desk.see(Phase.FREE)
            # Nine tries are three rounds: had they counted, the old certificate would be tried now.
            await until(lambda: sum("cannot be reached" in sentence for sentence in desk.said) >= 9, "three rounds")
            assert keys.new is not None
            async with tls.listen(V21, port):
                found = await until(lambda: desk.bridge.station.online and tls.csms.chargers.get("CP-1"), "the charger")
                assert seen_by(found) == "1/Grid Co"

    asyncio.run(main())


def test_a_charger_with_a_password_gets_a_certificate_and_goes_over_to_profile_3(tmp_path: Path) -> None:
    """A05: upgrade by a network profile; the board stays the last resort."""

    async def main() -> None:
        pki = Pki(tmp_path)
        keys, low, high = Keys(tmp_path / "keys"), Csms(), Tls(pki)
        certificate, key, _ = pki.root.issue("low")
        context, protocol = pki.server(certificate, key), ["ocpp2.1"]
        async with (
            serve(low._connected, "127.0.0.1", 0, ssl=context, subprotocols=protocol) as server,  # type: ignore[arg-type]
            high.listen(V21) as port,
            desk_of([pki.profile(2)(port_of(server))], keys) as desk,
        ):
            desk.see(Phase.FREE)
            first = await until(lambda: desk.bridge.station.online and low.chargers.get("CP-1"), "the first")
            data = {"ocppCsmsUrl": f"wss://localhost:{port}", "ocppInterface": "Any", "ocppTransport": "JSON",
                    "messageTimeout": 60, "securityProfile": 3}  # fmt: skip
            way = {"configurationSlot": 3, "connectionData": data}
            assert (await first.call("SetNetworkProfile", way))["status"] == "Rejected"  # no certificate yet
            await renewed(first, V21, pki.root)
            assert not desk.bridge.station.reconnect  # the way in use does not need it
            assert await first.call("SetNetworkProfile", way) == {"status": "Accepted"}
            name = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"}}
            await first.call("SetVariables", {"setVariableData": [name | {"attributeValue": "3"}]})
            await first._socket.close()
            second = await registered_again(desk, high.csms, first)
            assert seen_by(second) == "1/Grid Co"
            assert keys.used is not None

    asyncio.run(main())
