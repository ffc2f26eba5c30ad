"""Jobs of jobs.py done in threads of their own: files over HTTP, signatures, the board's installer.

HTTPS is checked against the roots of the back end's profile, or the system's where it has none. User and password in
an address become HTTP Basic authentication. Redirects are not followed. A job that was cancelled may go on for a
moment; nobody hears its outcome.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from firmware.bridges.ocpp.jobs import Download, Install, Job, Outcome, Upload, Verify
from firmware.bridges.ocpp.signature import roots_of, signature_objection, signer_objection

FILE = "firmware.bin"  # in the run directory
TIMEOUT_S = 30.0  # policy value: of each step on the wire
INSTALL_S = 1800.0  # policy value: an installer that takes longer is stuck
MAX_BYTES = 1 << 30  # policy value: no firmware of a charger is larger
CHUNK = 65_536

Collect = Callable[[float | None, float | None], bytes]  # diagnostics from oldest to latest (wall time, s; None: all)


class Cancelled(Exception):
    """Another job has taken the place of this one."""


class Failure(Exception):
    """The job failed. code as in Outcome."""

    def __init__(self, sentence: str, code: str = "failed") -> None:
        super().__init__(sentence)
        self.code = code


class Threads:
    """A Worker. collect: makes the diagnostics. installer: a program that is given the file; roots_file: PEM of the
    roots that signers are held against; tls_file: PEM of the roots for HTTPS."""

    def __init__(
        self,
        folder: Path,
        collect: Collect,
        installer: Path | None = None,
        roots_file: Path | None = None,
        tls_file: Path | None = None,
    ) -> None:
        self._file = folder / FILE
        self._collect = collect
        self._installer = installer
        self._roots_file = roots_file
        self._tls_file = tls_file
        self._open: dict[str, tuple[threading.Event, list[Outcome]]] = {}  # name -> (cancelled, its outcome)

    @property
    def installs(self) -> bool:
        """As Worker."""
        return self._installer is not None and self._roots_file is not None

    def signer(self, certificate: str, wall_s: float, more_roots: str) -> str:
        """As Worker."""
        assert self._roots_file is not None
        try:
            roots = roots_of(self._roots_file.read_bytes() + b"\n" + more_roots.encode())
        except (OSError, ValueError):
            return "the roots that signers are held against cannot be read"
        return signer_objection(certificate, roots, wall_s)

    def begin(self, name: str, job: Job) -> None:
        """As Worker."""
        self.cancel(name)
        entry: tuple[threading.Event, list[Outcome]] = (threading.Event(), [])
        self._open[name] = entry
        threading.Thread(target=self._do, args=(job, *entry), name=f"ocpp {name}", daemon=True).start()

    def cancel(self, name: str) -> None:
        """As Worker."""
        if (entry := self._open.pop(name, None)) is not None:
            entry[0].set()

    def outcome(self, name: str) -> Outcome | None:
        """As Worker."""
        entry = self._open.get(name)
        if entry is None or not entry[1]:
            return None
        del self._open[name]
        return entry[1][0]

    def _do(self, job: Job, cancelled: threading.Event, outcomes: list[Outcome]) -> None:
        try:
            match job:
                case Upload():
                    self._upload(job)
                case Download():
                    self._download(job, cancelled)
                case Verify():
                    self._verify(job)
                case Install():
                    self._verify(job)
                    self._install()
        except Cancelled:
            return
        except Failure as failure:
            outcomes.append(Outcome(failure.code, str(failure)))
        except Exception as error:  # whatever it is ends this job, and only this one
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            outcomes.append(Outcome("failed", str(what)[:200]))
        else:
            outcomes.append(Outcome())

    # ---------------------------------------------------------------------------------------------------------- HTTP
    def _connection(self, url: str) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        parts = urlsplit(url)
        assert parts.hostname is not None
        headers = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme.lower() == "https":
            context = ssl.create_default_context(cafile=None if self._tls_file is None else str(self._tls_file))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            secure = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=context)
            return secure, target, headers
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S), target, headers

    def _upload(self, job: Upload) -> None:
        body = job.body if job.kind == "security" else self._collect(job.oldest_s, job.latest_s)
        connection, target, headers = self._connection(job.url)
        with contextlib.closing(connection):
            connection.request("PUT", target, body, headers | {"Content-Type": "application/jsonl"})
            _good(connection.getresponse())

    def _download(self, job: Download, cancelled: threading.Event) -> None:
        """Into another name first: a file under its own name is whole."""
        connection, target, headers = self._connection(job.url)
        part = self._file.with_name(f"{FILE}.{threading.get_ident()}")
        try:
            with contextlib.closing(connection), part.open("wb") as file:
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                _good(answer)
                announced, size = answer.length, 0
                while chunk := answer.read(CHUNK):
                    if cancelled.is_set():
                        raise Cancelled
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise Failure(f"the file is larger than {MAX_BYTES} bytes")
                    file.write(chunk)
                if announced is not None and size != announced:
                    raise Failure(f"the file ended after {size} of {announced} bytes")
                file.flush()
                os.fsync(file.fileno())
            if cancelled.is_set():
                raise Cancelled
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------------ firmware
    def _verify(self, job: Verify | Install) -> None:
        with self._file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if why := signature_objection(job.certificate, job.signature, digest):
            self._file.unlink(missing_ok=True)
            raise Failure(why)

    def _install(self) -> None:
        assert self._installer is not None
        try:
            done = subprocess.run(
                [self._installer, self._file], capture_output=True, text=True, errors="replace", timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"the installer did not end within {INSTALL_S:g} s") from None
        finally:
            self._file.unlink(missing_ok=True)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Failure(f"the installer ended with {done.returncode}" + (f": {said[-1][:150]}" if said else ""))


def _good(answer: http.client.HTTPResponse) -> None:
    if not 200 <= answer.status < 300:
        raise Failure(f"the server answered with HTTP status {answer.status}", str(answer.status))
