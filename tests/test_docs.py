"""What the documents promise exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from firmware import cli
from firmware.arguments import guard_negative_values
from firmware.grid_codes import document
from firmware.guard import events_doc
from firmware.guard.events import EVENTS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_events_document_is_current() -> None:
    written = (ROOT / "docs" / "events.md").read_text()
    assert written == events_doc.render(), "run `make docs`"


def test_the_document_of_grid_codes_is_current() -> None:
    written = (ROOT / "docs" / "grid-codes.md").read_text()
    assert written == document.render(), "run `make docs`"


def test_every_event_is_in_the_document_once() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", events_doc.render(), re.MULTILINE)) == sorted(EVENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))
    assert named <= make_targets()


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "\nmake run " in text
    assert "\nmake test " in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_in_a_shell_block_parses(document: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    for line in "".join(blocks).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["quadrant"] or words[1] not in cli.BUILT_IN:
            continue
        cli.built_in()[0].parse_args(guard_negative_values(words[1:]))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_into_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_lines_of_prose_are_at_most_120_characters_long(document: Path) -> None:
    prose = [line for line in document.read_text().splitlines() if not line.startswith(("|", "    "))]  # nor code
    assert [line for line in prose if len(line) > 120] == []


def test_the_picture_is_an_svg_that_loads_nothing_from_elsewhere() -> None:
    text = (ROOT / "docs" / "img" / "view.svg").read_text()
    ElementTree.fromstring(text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for code in (cli.OK, cli.FAILED, cli.USAGE, cli.NO_CHARGER, cli.FAULTED):
        assert f"\n| {code} |" in text


def test_every_built_in_command_is_in_the_command_line_document() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for name in cli.BUILT_IN:
        assert f"`quadrant {name}" in text
