"""Every published field has a description, and the page is current."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from firmware import status_fields as f
from firmware.guard.messages import ElementInfo, LimitInfo, Snapshot, TripInfo
from firmware.services.requests import Request

PAGE = Path(__file__).parent.parent / "docs" / "status-reference.md"


@pytest.mark.parametrize(
    ("kind", "table"), [(Snapshot, f.SNAPSHOT), (LimitInfo, f.LIMIT), (TripInfo, f.TRIP), (ElementInfo, f.ELEMENT)]
)
def test_what_guard_publishes_is_described_field_by_field(kind: type[msgspec.Struct], table: dict[str, str]) -> None:
    tag = ["type"] if kind.__struct_config__.tag is not None else []
    assert [*tag, *kind.__struct_fields__] == list(table)


def test_a_request_is_described_field_by_field() -> None:
    assert [*Request.__slots__, "remaining_s"] == list(f.REQUEST)


@pytest.mark.parametrize("table", f.TABLES.values(), ids=f.TABLES)
def test_a_description_is_a_sentence_that_fits_a_table(table: dict[str, str]) -> None:
    for name, text in table.items():
        assert len(text) > 5, name
        assert text.endswith("."), name
        assert not set("|\n") & set(text), name


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == f.render(), "run `make docs`"
