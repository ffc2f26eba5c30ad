"""What takes long, and is done beside the station: files over HTTP, a signature, an installer. The words, no deed.

A function begins a job under its name and asks at every look whether it is over. One job a name: a new one takes the
place of the old one, whose outcome nobody hears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Upload:
    """Put a log to `url`. kind: "diagnostics" (collected by services) or "security" (body is it). oldest_s, latest_s:
    wall time (s); None: no bound."""

    url: str
    kind: str
    body: bytes = b""
    oldest_s: float | None = None
    latest_s: float | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """Fetch a firmware file; it is kept where Verify and Install find it."""

    url: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Check the fetched file. certificate: PEM of the signer and of those between; signature: base64."""

    certificate: str
    signature: str


@dataclass(frozen=True, slots=True)
class Install:
    """Hand the fetched file to the board's installer, once its signature was checked again: it may have waited."""

    certificate: str
    signature: str


Job = Upload | Download | Verify | Install


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. code: empty when it went well, else an HTTP status ("403") or "failed"; sentence: for people."""

    code: str = ""
    sentence: str = ""


class Worker(Protocol):
    """Does jobs, each in its own time. Nothing of it waits or raises."""

    @property
    def installs(self) -> bool:
        """Whether there is an installer, and a root that signers are held against."""

    def signer(self, certificate: str, wall_s: float, more_roots: str) -> str:
        """Why a signing certificate is not believed; empty: it is. more_roots: PEM of those that the back end added."""

    def begin(self, name: str, job: Job) -> None: ...

    def cancel(self, name: str) -> None: ...

    def outcome(self, name: str) -> Outcome | None:
        """How the job of this name ended, once; None while it goes on."""


def unusable(url: str) -> str:
    """Why files cannot be moved to or from this address; empty: they can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "the address cannot be understood"
    if parts.scheme.lower() not in SCHEMES:
        return f"files go over {' and '.join(SCHEMES)} only, not {parts.scheme[:20] or 'without a scheme'}"
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        return "the address names no host, or holds blanks"
    return ""
