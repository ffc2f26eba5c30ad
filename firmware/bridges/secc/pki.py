"""A PKI of our own for desk and laboratory: one for the charger, one for the car. Runs in the SECC's environment.

    .venv-secc/bin/python -P firmware/bridges/secc/pki.py FOLDER

FOLDER/charger is for the charger (chain.pem, key.pem, and vehicle_roots.pem to verify cars by), FOLDER/vehicle for the
rig's car (chain.pem, key.pem, charger_roots.pem). The keys of the authorities are thrown away: nobody can extend this
PKI, a new one is made instead. Chains have two intermediate authorities, as in ISO 15118 (V2G root, CPO sub 1 and 2).
Keys are P-256 with SHA-256: ISO 15118-2 demands it; -20 names secp521r1 and Ed448, of which one context can hold only
one beside it (own choice).
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAYS = 3650  # own choice: a desk should not stop working one morning
_PEM = serialization.Encoding.PEM


class PkiError(Exception):
    """One sentence."""


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    path_length: int | None,
    now: datetime.datetime,
) -> x509.Certificate:
    """path_length: how many authorities may follow; None: this is no authority."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Quadrant desk")]
    )
    authority = path_length is not None
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"key_cert_sign": True, "crl_sign": True} if authority else {"digital_signature": True}
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks of chargers and cars are not exact
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())


def _chain(names: tuple[str, str, str, str], now: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """(root, leaf and intermediates, leaf's key) as PEM, for the names of root, two intermediates and leaf."""
    issuer, issuer_key = None, None
    certificates = []
    for depth, name in enumerate(names):
        key = ec.generate_private_key(ec.SECP256R1())
        length = 2 - depth if depth < 3 else None
        issuer = _certificate(name, key, issuer, issuer_key or key, length, now)
        issuer_key = key
        certificates.append(issuer.public_bytes(_PEM))
    assert issuer_key is not None
    private = issuer_key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificates[0], b"".join(reversed(certificates[1:])), private


def make(folder: Path) -> None:
    """Raises PkiError when there is something already, or the folder cannot be written."""
    if folder.exists() and any(folder.iterdir()):
        raise PkiError(f"{folder} is not empty; nothing was changed. Choose another folder, or remove that one.")
    now = datetime.datetime.now(datetime.UTC)
    charger_root, charger_chain, charger_key = _chain(("V2G root", "CPO sub 1", "CPO sub 2", "SECC"), now)
    vehicle_root, vehicle_chain, vehicle_key = _chain(("OEM root", "OEM sub 1", "OEM sub 2", "Vehicle"), now)
    try:
        for side, chain, key, roots, root in (
            ("charger", charger_chain, charger_key, "vehicle_roots.pem", vehicle_root),
            ("vehicle", vehicle_chain, vehicle_key, "charger_roots.pem", charger_root),
        ):
            place = folder / side
            place.mkdir(parents=True, mode=0o700)
            (place / "chain.pem").write_bytes(chain)
            (place / roots).write_bytes(root)
            with open(os.open(place / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(key)
    except OSError as error:
        raise PkiError(f"{folder} cannot be written: {error}") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="pki", description="Make a PKI for desk and laboratory.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        make(folder)
    except PkiError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Made {folder}/charger and {folder}/vehicle; valid for {DAYS} days.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
