"""The files of the page: vendored ones are what their list says, and nothing needs a network or breaks the policy."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import firmware.web

STATIC = Path(firmware.web.__path__[0]) / "static"
VENDOR = STATIC / "vendor"
OWN = [path for path in STATIC.rglob("*") if path.is_file() and VENDOR not in path.parents]


def test_every_vendored_script_is_unchanged_and_has_its_licence() -> None:
    listed = r"^\| (\S+) \| (\S+ \S+) \| .* \| .*?(LICENSE-\w+).* \| ([0-9a-f]{64}) \|$"
    rows = re.findall(listed, (VENDOR / "README.md").read_text(), re.M)
    named = {name for name, *_ in rows}
    assert named == {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    for name, _, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert (VENDOR / licence).stat().st_size > 500


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.name)
def test_nothing_of_our_own_asks_for_another_server_or_for_inline_code(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(src|href|url|import|from|fetch)\s*[=(]?\s*[\"'`]?https?://", text)
    assert "eval(" not in text
    assert "innerHTML" not in text
    assert "insertAdjacentHTML" not in text
    assert "dangerouslySetInnerHTML" not in text
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*src=)", text)
        assert not re.search(r"<style|\sstyle=|\son\w+=", text)


@pytest.mark.parametrize("path", [p for p in OWN if p.suffix == ".js"], ids=lambda p: p.name)
def test_every_import_is_a_file_that_is_there(path: Path) -> None:
    for name in re.findall(r"from \"(\.[^\"]+)\"", path.read_text()):
        assert (path.parent / name).resolve().is_file(), name


def test_the_page_is_small_enough_for_a_phone_on_a_bad_line() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*.[jc]s*")) < 200_000  # some 60 kB when compressed
