"""Whether this process runs the Python sources or the optional C modules made of them (docs/compiled.md)."""

from __future__ import annotations

from importlib.util import find_spec


def how() -> str:
    """'interpreted' or 'compiled': how the step of protection is there, without importing it."""
    spec = find_spec("firmware.protection.grid")
    return "interpreted" if spec is None or (spec.origin or "").endswith(".py") else "compiled"
