"""The keys and certificates of ours that the back end has had made (A02, A03): files that nobody else may read.

A key is made here and never leaves. In the folder are at most: `asked.key`, the key of the request that is open;
`new.pem`, key and certificate that were accepted and are not yet tried; `used.pem`, those that the back end has taken
us by. Each is written under another name first, on the disk before it gets its own, and holds key and certificate
together: killed at any moment, there is never one that fits no other. The board's own certificate stays as it is. It
counts again when somebody puts another one in its place: which it was is noted above each of ours.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firmware.bridges.ocpp.network import CIPHERS

FOLDER = "ocpp-keys"  # in the run directory
_PEM = serialization.Encoding.PEM


class KeysError(Exception):
    """The disk refused. One sentence."""


class Keys:
    """The files of one charger. Methods that change something raise KeysError; then nothing changed."""

    def __init__(self, folder: Path, board: Path | None = None) -> None:
        """board: the file with the board's own certificate."""
        self._folder = folder
        self._board = board
        self._asked = folder / "asked.key"
        self._new = folder / "new.pem"
        self._used = folder / "used.pem"

    # ------------------------------------------------------------------------------------------------------ a request
    def ask(self, name: str, organization: str) -> str:
        """Make a key, in the place of that of an earlier request, and ask for its certificate: PEM of the request.
        name: the charger's serial number (CN; A00.FR.511)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        ]
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
        self._write(self._asked, _pem(key))
        return request.public_bytes(_PEM).decode()

    def waits(self, request: str) -> bool:
        """Whether the key of this request is here."""
        key = _key(self._asked)
        try:
            asked = x509.load_pem_x509_csr(request.encode()).public_key()
        except ValueError:
            return False
        return key is not None and _public(key.public_key()) == _public(asked)

    def take(self, chain: str) -> None:
        """The certificate of the open request has come, with those between (PEM): it is to be tried."""
        key = _key(self._asked)
        if key is None:
            raise KeysError("The key of the certificate is gone.")
        found = x509.load_pem_x509_certificates(chain.encode())
        mark = f"beside {_mark(self._of_board())}\n".encode()  # readers of PEM pass over it
        self._write(self._new, mark + _pem(key) + b"".join(one.public_bytes(_PEM) for one in found), self._check)

    @staticmethod
    def _check(file: Path) -> None:
        """What OpenSSL will not take would end in no connection at all, with the old one neither."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers(CIPHERS)
        context.load_cert_chain(file)

    def drop(self) -> None:
        """Nothing is asked for any more."""
        with self._disk():
            self._asked.unlink(missing_ok=True)

    # ----------------------------------------------------------------------------------------------------- which to use
    def settle(self, works: bool) -> None:
        """The new one was tried: it takes the place of the others, or is thrown away."""
        with self._disk():
            if works:
                self._new.replace(self._used)
            else:
                self._new.unlink(missing_ok=True)

    @property
    def new(self) -> Path | None:
        """Key and certificate that are not yet tried."""
        return self._new if _leaf(self._new, whole=True) is not None else None

    @property
    def used(self) -> Path | None:
        """Key and certificate in use; None: the board's own."""
        if _leaf(self._used, whole=True) is None:
            return None
        board = self._of_board()
        return None if board is not None and f"beside {_mark(board)}\n" not in self._used.read_text() else self._used

    @property
    def certificate(self) -> x509.Certificate | None:
        """Our certificate: the new one, or that in use, or the board's."""
        file = self.new or self.used
        return self._of_board() if file is None else _leaf(file, whole=True)

    def _of_board(self) -> x509.Certificate | None:
        return None if self._board is None else _leaf(self._board, whole=False)

    # --------------------------------------------------------------------------------------------------------- the disk
    def _write(self, path: Path, data: bytes, check: Callable[[Path], None] = lambda file: None) -> None:
        part = path.with_name(path.name + ".part")
        with self._disk():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            part.unlink(missing_ok=True)  # what a killed process left may have other permissions
            with open(part, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            check(part)
            part.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            raise KeysError(f"OpenSSL does not take the certificate: {error.reason or error}.") from None
        except OSError as error:
            raise KeysError(f"The charger's key cannot be kept: {error.strerror or error}.") from None


def organization_of(certificate: x509.Certificate | None) -> str:
    """O of a certificate's subject; empty: it has none."""
    found = [] if certificate is None else certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else ""


def _mark(certificate: x509.Certificate | None) -> str:
    return "none" if certificate is None else certificate.fingerprint(hashes.SHA256()).hex()


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _public(key: object) -> bytes | None:
    """Of a key of our kind; None of another."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return None
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _leaf(path: Path, whole: bool) -> x509.Certificate | None:
    """The first certificate of a file. whole: only with its key beside it."""
    try:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None
    if not whole:
        return leaf
    key = _key(path)
    return leaf if key is not None and _public(key.public_key()) == _public(leaf.public_key()) else None
