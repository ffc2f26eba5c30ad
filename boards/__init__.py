"""Boards: which drivers on which bus, ratings and limits. One TOML a board; see docs/boards.md."""

from boards.loader import describe, effective, find, load, names, read_adjustments
from boards.rules import BoardError
from boards.schema import Board

__all__ = ["Board", "BoardError", "describe", "effective", "find", "load", "names", "read_adjustments"]
