"""Certificates judged: who signed a firmware file and whether that is its signature, what may be a root, and whether a
certificate that was made for us is ours. Pure: bytes in, sentences out.

A signer is believed when its certificate, over those that come with it, leads to a root of the board's
`firmware_ca_file`, every one of them is valid now, those between may sign certificates, and its own use (if it states
any) is digital signatures. The signature is base64 of RSA-PSS or ECDSA over SHA-256 of the whole file (OCPP 2.x part 2,
L01, as libocpp reads it); RSA keys have at least 2048 bits, curves at least 256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

T = TypeVar("T", bound=x509.ExtensionType)

MAX_CHAIN = 5  # policy value: certificates between signer and root
MIN_RSA_BITS, MIN_CURVE_BITS = 2048, 256
CLOCKS = timedelta(seconds=10)  # policy value: the authority's clock may be so far ahead of ours


def root_objection(pem: str, wall_s: float) -> str:
    """Why this may not become a root; empty: it may. wall_s: now (s since the epoch)."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "it is no PEM of a certificate"
    if len(found) != 1:
        return f"one certificate is needed, not {len(found)}"
    (root,) = found
    if not _may_sign(root) or not _issued(root, root):
        return "it is no root: it does not sign itself, or may not sign others"
    if not _strong(root.public_key()):
        return "its key is too weak, or of a kind that is not known here"
    if not root.not_valid_before_utc <= datetime.fromtimestamp(wall_s, UTC) <= root.not_valid_after_utc:
        return "it is not valid now"
    return ""


def hash_data(pem: str, algorithm: str) -> dict[str, str]:
    """CertificateHashDataType of a root, which issued itself. algorithm: SHA256, SHA384 or SHA512. The hash of the key
    is over its bits alone, as in RFC 6960 section 4.1.1."""
    root = x509.load_pem_x509_certificate(pem.encode())
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": hashlib.new(algorithm, root.issuer.public_bytes()).hexdigest(),
        "issuerKeyHash": hashlib.new(algorithm, _key_bits(root)).hexdigest(),
        "serialNumber": f"{root.serial_number:x}",
    }


def named_by(certificate: x509.Certificate, wanted: Mapping[str, str]) -> bool:
    """Whether a CertificateHashDataType means this certificate. The hash of its issuer's key is not looked at: an
    issuer gives a serial number once (RFC 5280 section 4.1.2.2)."""
    name = hashlib.new(wanted["hashAlgorithm"], certificate.issuer.public_bytes()).hexdigest()
    given = wanted["serialNumber"].lower().lstrip("0")
    return (name, f"{certificate.serial_number:x}") == (wanted["issuerNameHash"].lower(), given)


def roots_of(pem: bytes) -> list[x509.Certificate]:
    """The roots in a PEM file; empty: none. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem) if pem.strip() else []


def signer_objection(certificate: str, roots: Sequence[x509.Certificate], wall_s: float) -> str:
    """Why the signer is not believed; empty: it is. wall_s: now (s since the epoch)."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return "the signing certificate is no PEM"
    return _chain_objection(chain, roots, datetime.fromtimestamp(wall_s, UTC), "the signing certificate")


def client_objection(certificate: str, roots: Sequence[x509.Certificate], wall_s: float, request: str) -> str:
    """Why a certificate, with those between, is not the one that was asked for; empty: it is (OCPP 2.x part 2,
    A02.FR.06 and A00.FR.501 to 512). Both are PEM. wall_s: now (s since the epoch)."""
    asked = x509.load_pem_x509_csr(request.encode())
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return "it is no PEM of certificates"
    leaf = chain[0]
    if _key_bits(leaf) != _key_bits(asked):
        return "the certificate is for another key than ours"
    for oid, name in ((NameOID.COMMON_NAME, "CN"), (NameOID.ORGANIZATION_NAME, "O")):
        found, wanted = ([str(a.value) for a in s.subject.get_attributes_for_oid(oid)] for s in (leaf, asked))
        if found != wanted:
            return f"the certificate's {name} is {', '.join(found)[:60] or 'missing'}, not {wanted[0]}"
    basic, purpose = _extension(leaf, x509.BasicConstraints), _extension(leaf, x509.ExtendedKeyUsage)
    if basic is not None and basic.ca:
        return "the certificate is one of an authority"
    if purpose is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purpose:
        return "the certificate is not for clients of TLS"
    moment = datetime.fromtimestamp(wall_s, UTC)
    if leaf.not_valid_before_utc - CLOCKS <= moment < leaf.not_valid_before_utc:
        moment = leaf.not_valid_before_utc  # it was made a moment ago, by a clock that is a little ahead
    return _chain_objection(chain, roots, moment, "the certificate")


def _chain_objection(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], moment: datetime, what: str
) -> str:
    if len(chain) > MAX_CHAIN:
        return f"{what} comes with more than {MAX_CHAIN - 1} others"
    if not all(_strong(one.public_key()) for one in chain):
        return f"the key of {what}, or of one above it, is too weak, or of a kind that is not known here"
    if (usage := _extension(chain[0], x509.KeyUsage)) is not None and not usage.digital_signature:
        return f"{what} is not for digital signatures"
    for below, (lower, upper) in enumerate(itertools.pairwise(chain)):
        if not _issued(lower, upper) or not _may_sign(upper, below):
            return f"{what} and those that come with it are no chain"
    for one in chain:
        if not one.not_valid_before_utc <= moment <= one.not_valid_after_utc:
            return f"{what}, or one above it, is not valid now"
    for root in roots:
        valid = root.not_valid_before_utc <= moment <= root.not_valid_after_utc
        if valid and (chain[-1] == root or (_issued(chain[-1], root) and _may_sign(root, len(chain) - 1))):
            return ""
    return f"{what} does not come from a root of this charger"


def signature_objection(certificate: str, signature: str, digest: bytes) -> str:
    """Why this is not the signer's signature over a file of this SHA-256; empty: it is."""
    try:
        key = x509.load_pem_x509_certificates(certificate.encode())[0].public_key()
        given = base64.b64decode("".join(signature.split()), validate=True)
    except (ValueError, binascii.Error):
        return "the signature is no base64, or the certificate no PEM"
    hashed = utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(given, digest, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO), hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(given, digest, ec.ECDSA(hashed))
        else:
            return "the signer's key is of a kind that is not known here"
    except InvalidSignature:
        return "the signature does not belong to this file"
    return ""


def _key_bits(certificate: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)


def _strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= MIN_CURVE_BITS


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return isinstance(lower.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)


def _may_sign(upper: x509.Certificate, below: int = 0) -> bool:
    """Whether it is an authority's. below: other authorities between it and who is judged (RFC 5280, 4.2.1.9)."""
    basic, usage = _extension(upper, x509.BasicConstraints), _extension(upper, x509.KeyUsage)
    if basic is None or not basic.ca or (basic.path_length is not None and basic.path_length < below):
        return False
    return usage is None or usage.key_cert_sign


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None
