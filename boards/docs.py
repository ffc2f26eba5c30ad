"""The manual of board files, from their schema: `python -m boards.docs` brings docs/boards.md up to date."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from boards.rules import Rule
from boards.schema import SECTIONS, Bus


def table() -> str:
    """Every key as Markdown, for docs/boards.md."""
    lines: list[str] = []
    for name, (kind, obligatory) in SECTIONS.items():
        title = "bus.NAME" if kind is Bus else name
        lines += [f"### `[{title}]`", "", (kind.__doc__ or "").strip(), ""]
        if not obligatory:
            lines += ["The section may be left out.", ""]
        lines += ["| Key | Default | Allowed | Meaning |", "|---|---|---|---|"]
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            rule: Rule = field.metadata["rule"]
            allowed = rule.allowed() or ("true, false" if hints[field.name] is bool else "see text")
            unit = f" {rule.unit}" if rule.choices and rule.unit else ""
            lines.append(f"| `{field.name}` | {_default(field)} | {allowed}{unit} | {rule.text} |")
        lines.append("")
    return "\n".join(lines)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "obligatory"
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return "true" if field.default else "false"
    if isinstance(field.default, str):
        return f"`{field.default}`"
    return f"{field.default:g}"


def _write_docs() -> None:
    """In a checkout: bring the generated part of docs/boards.md up to date."""
    docs = Path(__file__).parent.parent / "docs" / "boards.md"
    marker = "## Every key\n"
    kept, _, rest = docs.read_text().partition(marker)
    intro = rest.strip().partition("\n\n")[0]
    docs.write_text(f"{kept}{marker}\n{intro}\n\n{table()}")


if __name__ == "__main__":
    _write_docs()
