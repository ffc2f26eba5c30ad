"""TLS contexts of both ends: 1.2 without and 1.3 with the car's certificate, no curve pinned. Standard library only.

The package's own context either refuses 1.3, or demands a client certificate of every car, and takes P-256 only.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

# ISO 15118-2 names two suites, of which OpenSSL 3 has the one with perfect forward secrecy; those of 1.3 are on anyway.
CIPHERS_1_2 = "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(pki: Path) -> ssl.SSLContext:
    """The charger's. A certificate that a car sends is always verified; `admit` demands one where it must be.

    Raises ValueError with a sentence when the folder lacks a file or its content is no key or certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_1_2)
    context.verify_mode = ssl.CERT_OPTIONAL
    _load(context, pki / "charger", "vehicle_roots.pem")
    return context


def client_context(pki: Path, version: str) -> ssl.SSLContext:
    """The rig's car, with exactly this version. Its certificate is offered in 1.3 only. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # a charger is named by its certificate, not by an address
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context.set_ciphers(CIPHERS_1_2)
    _load(context, pki / "vehicle", "charger_roots.pem", with_certificate=version == "1.3")
    return context


def admit(connection: Any) -> bool:
    """Whether a finished handshake may become a session: with TLS 1.3 the car must have shown its certificate.

    connection: an ssl.SSLObject, or None for a connection without TLS, which is judged elsewhere.
    """
    return connection is None or connection.version() != "TLSv1.3" or bool(connection.getpeercert(binary_form=True))


def _load(context: ssl.SSLContext, folder: Path, roots: str, *, with_certificate: bool = True) -> None:
    try:
        context.load_verify_locations(folder / roots)
        if with_certificate:
            context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"{folder} cannot be used for TLS: {error}. `quadrant pki` makes such a folder.") from None
