"""Where the SECC's package and its schemas are, and the reason to skip if they are not."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from firmware.bridges.secc.exi.codec import SCHEMA_FILES, ExiCodec

ROOT = Path(__file__).resolve().parents[2]
SECC_PYTHON = ROOT / ".venv-secc" / "bin" / "python"


@functools.cache
def schemas() -> Path | None:
    """The folder of XSD files in the SECC's environment; None if that was not set up."""
    found = sorted((ROOT / ".venv-secc").glob("lib/python3.*/site-packages/iso15118/shared/schemas"))
    return found[0] if found and (found[0] / "V2G_CI_AppProtocol.xsd").is_file() else None


needs_schemas = pytest.mark.skipif(
    schemas() is None, reason="no V2G schemas: .venv-secc is not set up (make setup, needs a package index)"
)
needs_java = pytest.mark.skipif(
    schemas() is None or shutil.which("java") is None,
    reason="the Java codec is the oracle: needs .venv-secc (make setup) and a Java runtime (make packages-slow)",
)


@functools.cache
def codec() -> ExiCodec:
    """One codec for all tests of a process: compiling every schema takes a third of a second."""
    folder = schemas()
    assert folder is not None
    return ExiCodec(folder)


class Refused(Exception):
    """The oracle's answer is that it cannot."""


# A few hundred calls each for another message: what the second compiler would make of them is never used often enough,
# and it takes longer than all of the calls.
SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class Oracle:
    """The Java codec in a process of its own; see oracle.py."""

    def __init__(self, java_options: str = SHORT_LIVED) -> None:
        self._options = java_options

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(SECC_PYTHON), str(Path(__file__).with_name("oracle.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "JAVA_TOOL_OPTIONS": self._options},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def jar_encode(self, message: dict[str, Any], namespace: str) -> bytes:
        """EXI by the package's codec."""
        return bytes.fromhex(
            self._ask(oracle="jar", operation="encode", namespace=namespace, message=json.dumps(message))
        )

    def jar_decode(self, data: bytes, namespace: str) -> dict[str, Any]:
        """JSON by the package's codec."""
        text = self._ask(oracle="jar", operation="decode", namespace=namespace, message=data.hex())
        decoded: dict[str, Any] = json.loads(text)
        return decoded

    def encode(self, xml: str, namespace: str, fragment: bool = False) -> bytes:
        """EXI by EXIficient with grammars from the XSD."""
        schema = SCHEMA_FILES[namespace]
        return bytes.fromhex(
            self._ask(oracle="exificient", operation="encode", schema=schema, fragment=fragment, message=xml)
        )

    def decode(self, data: bytes, namespace: str, fragment: bool = False) -> str:
        """XML by EXIficient with grammars from the XSD."""
        schema = SCHEMA_FILES[namespace]
        return self._ask(oracle="exificient", operation="decode", schema=schema, fragment=fragment, message=data.hex())

    def jar_times(self, message: dict[str, Any], namespace: str, count: int) -> dict[str, list[float]]:
        """Seconds of each of `count` calls of the package's codec, by `encode` and `decode`."""
        text = json.dumps(message)
        reply = self._ask(oracle="jar", operation="time", namespace=namespace, message=text, count=count)
        times: dict[str, list[float]] = json.loads(reply)
        return times

    def _ask(self, **request: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        if "refused" in reply:
            raise Refused(reply["all"])
        return str(reply["answer"])
