"""The WebSocket against servers that are right and servers that are wrong, on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from firmware.bridges.ocpp.dialect import DIALECTS, V16, V21, Dialect
from firmware.bridges.ocpp.network import NetworkError, Profile
from firmware.bridges.ocpp.transport import NoConnection, open_socket, tls
from tests.ocpp.certificates import Authority, self_signed, signed_with_sha1

PASSWORD = "0123456789abcdef"


async def idle(connection: ServerConnection) -> None:
    await connection.wait_closed()


def port_of(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def reach(make: Callable[[int], Profile], dialects: Any = DIALECTS, **server: Any) -> tuple[Dialect, list[Request]]:
    """Connect once; returns the version chosen and the requests that the server saw."""
    seen: list[Request] = []

    async def main() -> Dialect:
        look = server.pop("process_request", None)

        def process(connection: ServerConnection, request: Request) -> Response | None:
            seen.append(request)
            return None if look is None else look(connection, request)

        async with serve(idle, "127.0.0.1", 0, process_request=process, **server) as served:
            socket, dialect = await open_socket(make(port_of(served)), dialects)
            await socket.close()
            return dialect

    return asyncio.run(main()), seen


def plain(port: int) -> Profile:
    return Profile(f"ws://127.0.0.1:{port}/ocpp", "CP-1", 0)


def test_the_back_end_chooses_the_version() -> None:
    assert reach(plain, subprotocols=["ocpp2.1", "ocpp1.6"])[0] is V21
    chosen, seen = reach(plain, subprotocols=["ocpp1.6"])
    assert chosen is V16
    assert seen[0].path == "/ocpp/CP-1"
    assert seen[0].headers["Sec-WebSocket-Protocol"] == "ocpp2.1, ocpp2.0.1, ocpp1.6"
    assert "Authorization" not in seen[0].headers


def test_a_back_end_that_chooses_no_version_is_left() -> None:
    with pytest.raises(NoConnection, match="none of the OCPP versions"):
        reach(plain)


def test_a_redirect_is_not_followed() -> None:
    def away(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(http.HTTPStatus.TEMPORARY_REDIRECT, "")
        response.headers["Location"] = "ws://127.0.0.1:9/elsewhere"
        return response

    with pytest.raises(NoConnection, match="307"):
        reach(plain, subprotocols=["ocpp2.1"], process_request=away)


def test_a_password_that_is_refused_is_a_security_event_and_nobody_there_is_none() -> None:
    def no(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "")

    with pytest.raises(NoConnection, match="401") as caught:
        reach(plain, subprotocols=["ocpp2.1"], process_request=no)
    assert caught.value.event == "FailedToAuthenticateAtCsms"
    with pytest.raises(NoConnection) as caught:
        asyncio.run(open_socket(plain(9), DIALECTS))
    assert caught.value.event == ""


# ----------------------------------------------------------------------------------------------------------------- TLS
class Pki:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Authority(folder, "root")

    def server(self, certificate: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context

    def profile(self, security: int = 2, ca: Path | None = None, **more: Any) -> Callable[[int], Profile]:
        password = PASSWORD if security == 2 else ""
        roots_too = {key: more.pop(key) for key in ("more_roots",) if key in more}
        files = more or ({"cert_file": self.client[0], "key_file": self.client[1]} if security == 3 else {})
        roots = self.root.file if ca is None else ca
        return lambda port: Profile(f"wss://localhost:{port}", "CP-1", security, password, roots, **files, **roots_too)

    @property
    def client(self) -> tuple[Path, Path]:
        return self.root.issue("client")[:2]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def test_profiles_2_and_3_with_a_good_server(pki: Pki) -> None:
    certificate, key, _ = pki.root.issue("good")
    _, seen = reach(pki.profile(2), subprotocols=["ocpp2.1"], ssl=pki.server(certificate, key))
    assert seen[0].headers["Authorization"].startswith("Basic ")
    demands = pki.server(certificate, key, pki.root.file)
    _, seen = reach(pki.profile(3), subprotocols=["ocpp2.1"], ssl=demands)
    assert "Authorization" not in seen[0].headers


def refused(make: Callable[[int], Profile], context: ssl.SSLContext) -> NoConnection:
    seen: list[Request] = []

    def process(connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    with pytest.raises(NoConnection) as caught:
        reach(make, subprotocols=["ocpp2.1"], ssl=context, process_request=process)
    assert seen == [], "the password went out"
    return caught.value


def refused_by_openssl(make: Callable[[int], Profile], context: ssl.SSLContext) -> NoConnection:
    """As `refused`, with a server on a plain socket: asyncio's closes before it has sent TLS's own alert."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60.0)

        def answer() -> None:
            accepted, _ = listening.accept()
            with accepted, contextlib.suppress(ssl.SSLError, OSError):
                context.wrap_socket(accepted, server_side=True).recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NoConnection) as caught:
            asyncio.run(open_socket(make(listening.getsockname()[1]), DIALECTS))
        thread.join()
    return caught.value


def test_a_server_whose_certificate_has_expired_or_is_not_yet_valid(pki: Pki) -> None:
    day = timedelta(days=1)
    for start, end, says in ((-3 * day, -day, "expired"), (day, 3 * day, "not yet valid")):
        certificate, key, _ = pki.root.issue("wrong", start=start, end=end)
        error = refused(pki.profile(), pki.server(certificate, key))
        assert says in str(error)
        assert error.event == "InvalidCsmsCertificate"


def test_a_server_of_another_name(pki: Pki) -> None:
    certificate, key, _ = pki.root.issue("wrong", host="other.example")
    assert refused(pki.profile(), pki.server(certificate, key)).event == "InvalidCsmsCertificate"


def test_a_server_of_an_unknown_root_and_one_that_signs_itself(pki: Pki) -> None:
    certificate, key, _ = Authority(pki.folder, "other").issue("stranger")
    assert refused(pki.profile(), pki.server(certificate, key)).event == "InvalidCsmsCertificate"
    own = self_signed(pki.folder, "own")
    assert refused(pki.profile(), pki.server(*own)).event == "InvalidCsmsCertificate"


def test_a_server_whose_certificate_was_revoked(pki: Pki) -> None:
    certificate, key, issued = pki.root.issue("revoked")
    error = refused(pki.profile(ca=pki.root.with_revoked(issued)), pki.server(certificate, key))
    assert "revoked" in str(error)
    good, good_key, _ = pki.root.issue("good")
    reach(pki.profile(ca=pki.root.with_revoked(issued)), subprotocols=["ocpp2.1"], ssl=pki.server(good, good_key))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_with_tls_1_1_only(pki: Pki) -> None:
    certificate, key, _ = pki.root.issue("old")
    context = pki.server(certificate, key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert refused_by_openssl(pki.profile(), context).event == "InvalidTLSVersion"


def test_a_server_with_a_weak_cipher_only(pki: Pki) -> None:
    certificate, key, _ = pki.root.issue("weak")
    context = pki.server(certificate, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    assert refused_by_openssl(pki.profile(), context).event == "InvalidTLSCipherSuite"


def test_a_server_that_does_not_believe_our_certificate(pki: Pki) -> None:
    certificate, key, _ = pki.root.issue("good")
    stranger = Authority(pki.folder, "other").issue("stranger-client")
    make = pki.profile(3, cert_file=stranger[0], key_file=stranger[1])
    with pytest.raises(NoConnection):
        reach(make, subprotocols=["ocpp2.1"], ssl=pki.server(certificate, key, pki.root.file))


def test_a_server_whose_certificate_is_signed_with_sha_1(pki: Pki) -> None:
    certificate, key, root = signed_with_sha1(pki.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or the server itself would not take it
    context.load_cert_chain(certificate, key)
    error = refused(pki.profile(ca=root), context)
    assert "too weak" in str(error)
    assert error.event == "InvalidCsmsCertificate"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_of_profile_3_that_never_asks_for_our_certificate(pki: Pki, newest: ssl.TLSVersion) -> None:
    certificate, key, _ = pki.root.issue("good")
    context = pki.server(certificate, key)
    context.maximum_version = newest
    with pytest.raises(NoConnection, match="never asked for our certificate") as caught:
        reach(pki.profile(3), subprotocols=["ocpp2.1"], ssl=context)
    assert caught.value.event == "CsmsFailedToAuthenticate"
    demands = pki.server(certificate, key, pki.root.file)
    demands.maximum_version = newest
    reach(pki.profile(3), subprotocols=["ocpp2.1"], ssl=demands)


def wrong_servers(pki: Pki) -> dict[str, tuple[tuple[int, ...], str, ssl.SSLContext, Path | None]]:
    """Fault -> (security profiles that must notice, security event, the server, the roots that are believed)."""
    root, day = pki.root, timedelta(days=1)
    both = (2, 3)

    def server(certificate: Path, key: Path, *_: Any) -> ssl.SSLContext:
        return pki.server(certificate, key, root.file)

    revoked = root.issue("revoked")
    sha1 = signed_with_sha1(pki.folder)
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weak.set_ciphers("DEFAULT:@SECLEVEL=0")
    weak.load_cert_chain(*sha1[:2])
    old = server(*root.issue("old"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    bad = "InvalidCsmsCertificate"
    return {
        "expired": (both, bad, server(*root.issue("expired", start=-3 * day, end=-day)), None),
        "wrong host": (both, bad, server(*root.issue("host", host="other.example")), None),
        "unknown CA": (both, bad, server(*Authority(pki.folder, "stranger").issue("strange")), None),
        "SHA-1": (both, bad, weak, sha1[2]),
        "TLS 1.1": (both, "InvalidTLSVersion", old, None),
        "no client certificate asked": ((3,), "CsmsFailedToAuthenticate", pki.server(*root.issue("lax")[:2]), None),
        "revoked": (both, bad, server(*revoked), root.with_revoked(revoked[2])),
        "self-signed": (both, bad, server(*self_signed(pki.folder, "own")), None),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_eight_wrong_servers_are_refused_by_profiles_2_and_3_each_with_its_security_event(pki: Pki) -> None:
    """And the event reaches the back end once a right server is there: see test_security.py."""
    faults = wrong_servers(pki)
    assert len(faults) == 8
    for fault, (profiles, event, context, roots) in faults.items():
        for security in profiles:
            make = pki.profile(security, ca=roots)
            if fault == "no client certificate asked":
                with pytest.raises(NoConnection) as caught:
                    reach(make, subprotocols=["ocpp2.1"], ssl=context)
                error = caught.value
            else:
                error = (refused_by_openssl if fault == "TLS 1.1" else refused)(make, context)
            assert error.event == event, (fault, security, str(error))


def test_files_that_are_none_are_told_in_one_sentence(pki: Pki) -> None:
    empty = pki.folder / "empty.pem"
    empty.write_text("")
    for missing in (pki.folder / "missing.pem", empty):
        with pytest.raises(NetworkError, match="cannot be used"):
            tls(pki.profile(ca=missing)(1))
