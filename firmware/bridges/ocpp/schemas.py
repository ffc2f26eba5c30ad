"""Whether a payload obeys the published JSON schema of its message.

The schemas are the files of the PyPI package `ocpp` (OCPP 1.6 with the security whitepaper, 2.0.1, 2.1 Edition 1);
none of its code is imported. jsonschema-rs judges: 4 us for a message of 3 kB where the pure-Python library takes
1.5 ms. A schema is read and built when its message first comes.

Date-times are judged too (the schemas only name the format). `limit: 16.1` against `multipleOf: 0.1` is decimal
arithmetic in jsonschema-rs, so it is right.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs

from firmware.bridges.ocpp import times
from firmware.bridges.ocpp.dialect import Code, Dialect


class SchemasMissing(Exception):
    """The package with the schemas is not installed. One sentence."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a payload: the error code that OCPP has for it, and one sentence that says where."""

    code: Code
    sentence: str


# Keyword of JSON schema -> error code, by the codes' descriptions in part 4: wrong type, missing or too many,
# wrong value; anything else is a malformed payload.
_CODES: Mapping[str, Code] = {
    "type": Code.TYPE,
    "required": Code.OCCURRENCE,
    "minItems": Code.OCCURRENCE,
    "maxItems": Code.OCCURRENCE,
    "enum": Code.PROPERTY,
    "format": Code.PROPERTY,
    "maximum": Code.PROPERTY,
    "maxLength": Code.PROPERTY,
    "minimum": Code.PROPERTY,
    "minLength": Code.PROPERTY,
    "multipleOf": Code.PROPERTY,
    "pattern": Code.PROPERTY,
}


def _folder(dialect: Dialect) -> Path:
    found = importlib.util.find_spec("ocpp")  # finds a top-level package without importing it
    for place in (found.submodule_search_locations or []) if found is not None else []:
        folder = Path(place) / dialect.schema_folder / "schemas"
        if folder.is_dir():
            return folder
    raise SchemasMissing("The OCPP schemas are not installed: pip install 'quadrant[ocpp]'.")


@functools.cache
def schemas_of(dialect: Dialect) -> Schemas:
    """The schemas of a version, each read and compiled once in a process. Raises SchemasMissing."""
    return Schemas(dialect)


class Schemas:
    """The schemas of one version."""

    def __init__(self, dialect: Dialect) -> None:
        """Raises SchemasMissing."""
        self._dialect = dialect
        self._folder = _folder(dialect)
        self._built: dict[str, jsonschema_rs.Validator] = {}
        suffix = dialect.request_suffix
        names = {path.stem for path in self._folder.glob("*.json")}
        self._sends = (
            frozenset() if not suffix else frozenset(name for name in names if not name.endswith((suffix, "Response")))
        )
        self.actions: frozenset[str] = self._sends | {
            name.removesuffix("Response") for name in names if name.endswith("Response")
        }

    @property
    def sends(self) -> frozenset[str]:
        """Actions that are SEND frames: they have no response."""
        return self._sends

    def request(self, action: str, payload: Mapping[str, Any]) -> Problem | None:
        """What is wrong with a request; None when it is good. `action` must be one of `actions`."""
        suffix = "" if action in self._sends else self._dialect.request_suffix
        return self._judge(f"{action}{suffix}", payload)

    def response(self, action: str, payload: Mapping[str, Any]) -> Problem | None:
        """What is wrong with the answer to `action`; None when it is good."""
        return self._judge(f"{action}Response", payload)

    def _judge(self, name: str, payload: Mapping[str, Any]) -> Problem | None:
        validator = self._built.get(name)
        if validator is None:
            document = json.loads((self._folder / f"{name}.json").read_text("utf-8-sig"))
            validator = jsonschema_rs.validator_for(
                document, validate_formats=True, formats={"date-time": times.is_date_time}
            )
            self._built[name] = validator
        error = next(iter(validator.iter_errors(payload)), None)
        if error is None:
            return None
        where = ".".join(str(part) for part in error.instance_path) or "the payload"
        return Problem(_CODES.get(error.kind.name, Code.FORMAT), f"{where}: {error.message[:160]}")
