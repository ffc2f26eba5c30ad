"""Certificates for the tests of the security profiles, made anew each time: EC P-256, good and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """A root, and what it signs. Files go into `folder`."""

    def __init__(self, folder: Path, name: str, now_s: float | None = None, days: int = 1, depth: int = 0) -> None:
        """now_s: wall time in the middle of its life of twice `days`; None: of this machine. depth: authorities that
        may stand below it."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        now = timedelta(0) if now_s is None else datetime.fromtimestamp(now_s, UTC) - datetime.now(UTC)
        builder = _builder(self._name, self._name, self._key.public_key(), now - days * DAY, now + days * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, host: str = "localhost", start: timedelta = -DAY, end: timedelta = DAY
    ) -> tuple[Path, Path, x509.Certificate]:
        """Certificate and key of `host` as files, and the certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key.public_key(), start, end)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return (*_files(self._folder, name, certificate, key), certificate)

    def sign(
        self,
        csr: str,
        now_s: float | None = None,
        start: timedelta = -DAY,
        end: timedelta = DAY,
        *,
        key: Any = None,
        name: x509.Name | None = None,
        add: Sequence[x509.ExtensionType] = (),
    ) -> str:
        """The certificate that a request asks for, as PEM; the rest as a wrong authority makes it. start, end: from
        now_s (None: of this machine)."""
        request = x509.load_pem_x509_csr(csr.encode())
        now = timedelta(0) if now_s is None else datetime.fromtimestamp(now_s, UTC) - datetime.now(UTC)
        subject = request.subject if name is None else name
        public = request.public_key() if key is None else key
        builder = _builder(subject, self._name, public, now + start, now + end)
        for extension in add:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def with_revoked(self, certificate: x509.Certificate) -> Path:
        """Our root together with a list that revokes `certificate`."""
        now = datetime.now(UTC)
        revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name).last_update(now - DAY)
        crl = builder.next_update(now + DAY).add_revoked_certificate(revoked.build()).sign(self._key, hashes.SHA256())
        file = self._folder / "root-and-crl.pem"
        file.write_bytes(self.file.read_bytes() + crl.public_bytes(serialization.Encoding.PEM))
        return file


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), key.public_key(), -DAY, DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return _files(folder, name, builder.sign(key, hashes.SHA256()), key)


_SHA256_RSA, _SHA1_RSA = (bytes.fromhex("06092a864886f70d0101" + last) for last in ("0b", "05"))  # RFC 8017, A.2.4


def signed_with_sha1(folder: Path) -> tuple[Path, Path, Path]:
    """Certificate of localhost and key, signed by the key of a good root with SHA-1, and that root.

    `cryptography` signs no certificate with SHA-1 any more: the good one's signature is made anew over the same words
    with the other algorithm, whose name has the same length.
    """
    root_key = rsa.generate_private_key(65537, 2048)
    name = _name("rsa-root")
    builder = _builder(name, name, root_key.public_key(), -DAY, DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = builder.sign(root_key, hashes.SHA256())
    root_file = folder / "rsa-root.pem"
    root_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name("sha1"), name, key.public_key(), -DAY, DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    good = builder.sign(root_key, hashes.SHA256())
    words = good.tbs_certificate_bytes.replace(_SHA256_RSA, _SHA1_RSA)
    signature = root_key.sign(words, padding.PKCS1v15(), hashes.SHA1())
    body = words + b"\x30\x0d" + _SHA1_RSA + b"\x05\x00" + b"\x03\x82\x01\x01\x00" + signature
    weak = x509.load_der_x509_certificate(b"\x30\x82" + len(body).to_bytes(2) + body)
    assert isinstance(weak.signature_hash_algorithm, hashes.SHA1)
    return (*_files(folder, "sha1", weak, key), root_file)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, start: timedelta, end: timedelta) -> Any:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + start).not_valid_after(now + end)


def _files(folder: Path, name: str, certificate: x509.Certificate, key: Any) -> tuple[Path, Path]:
    pem, key_pem = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, key_pem
