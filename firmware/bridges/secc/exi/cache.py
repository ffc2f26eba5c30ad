"""Keeps compiled tables in a file, so that a start costs milliseconds.

The file's name holds a hash over every schema file and the version of this codec, its first line a hash of the rest:
a file that is missing, torn, edited or of another version is compiled anew and never believed.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from firmware.bridges.secc.exi.errors import SchemaError
from firmware.bridges.secc.exi.tables import Tables, from_record, to_record

# Raise it with every change of what the compiler produces or the file holds; a test holds the output of a small schema
# against it.
VERSION = "1"


def schema_key(folder: Path) -> str:
    """A hash over the names and contents of all XSD files below `folder`, and `VERSION`."""
    digest = hashlib.sha256(VERSION.encode())
    files = sorted(folder.rglob("*.xsd"))
    if not files:
        raise SchemaError(f"{folder} has no XSD files")
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def load_or_compile(folder: Path, key: str, label: str, compile_tables: Callable[[], Tables]) -> Tables:
    """The tables kept in `folder` for schema `label` under `key`; compiled and stored if there are none to believe.

    A folder that cannot be written costs only the time of compiling again.
    """
    file = folder / f"exi-{re.sub('[^A-Za-z0-9]+', '-', label).strip('-')}-{key}.json"
    try:
        return _load(file)
    except (OSError, ValueError):  # SchemaError is a ValueError, so are faults of JSON and of UTF-8
        tables = compile_tables()
    _store(file, tables)
    return tables


def _load(file: Path) -> Tables:
    stored, _, body = file.read_bytes().partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != stored:
        raise SchemaError(f"{file} is damaged")
    return from_record(json.loads(body))


def _store(file: Path, tables: Tables) -> None:
    body = json.dumps(to_record(tables), separators=(",", ":")).encode()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            os.replace(temporary, file)  # whole or not at all, also with two processes at once
        except OSError:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return
