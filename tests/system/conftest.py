"""Fixtures of the tests of real processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.charger import Charger, Rig, board_file, clean_up, memory_left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


@contextlib.contextmanager
def clean_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory. At the end nothing of what ran in it may be left on the machine."""
    directory = tmp_path_factory.mktemp("q")
    yield directory
    left = clean_up(directory)
    assert not left, f"processes left behind: {left}"
    assert not memory_left(), f"shared memory left behind: {memory_left()}"
    sockets = [path for path in directory.rglob("*") if path.is_socket()]
    assert not sockets, f"sockets left behind: {sockets}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory for the tests of a module."""
    with clean_home(tmp_path_factory) as directory:
        yield directory


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Charger]]:
    """Start `quadrant run` with a rig of its own; ended with the test."""
    with contextlib.ExitStack() as stack:

        def begin(*more: str, plug_in: bool = True) -> Charger:
            charger = Charger(board_file(home / "board.toml", own_rig=True, plug_in=plug_in), home, *more)
            stack.callback(charger.end)
            return charger

        yield begin


@pytest.fixture(scope="module")
def rig(home: Path) -> Iterator[Rig]:
    """A rig that outlives its chargers."""
    rig = Rig(board_file(home / "board.toml", own_rig=False), home)
    yield rig
    rig.end()
