"""A moment of a simulation, kept, to go on from it as often as one likes."""

from __future__ import annotations

import gc
import io
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, TypeVar

from boards import Board
from firmware.grid_codes import GridCode

T = TypeVar("T")
SHARED = (GridCode, Board, FunctionType)  # nothing in them ever changes, so no copy is made of them


class Frozen(Generic[T]):
    """Whatever `thing` holds on to now, a simulated charger with its bench for instance.

    `thaw` makes a copy of its own of all of it, that goes on exactly as the original would. Several times as fast as
    copy.deepcopy, and like there functions are not copied: what one of them holds on to is shared.
    """

    def __init__(self, thing: T) -> None:
        kept: list[object] = []
        stream = io.BytesIO()
        _Pickler(stream, kept).dump(thing)
        self._bytes, self._kept = stream.getvalue(), kept

    def thaw(self) -> T:
        collects = gc.isenabled()
        gc.disable()  # thousands of new objects and nothing to collect: it would look through all of them several times
        try:
            thing: T = _Unpickler(io.BytesIO(self._bytes), self._kept).load()
        finally:
            if collects:
                gc.enable()
        return thing


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, kept: list[object]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._kept = kept

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, SHARED):
            self._kept.append(obj)
            return _Shared, (len(self._kept) - 1,)
        return NotImplemented


class _Shared:
    """Stands in the bytes for one of those that are kept, with its number; `_Unpickler` puts that one in its place."""

    def __init__(self, number: int) -> None: ...


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, kept: list[object]) -> None:
        super().__init__(stream)
        self._kept = kept

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, "_Shared"):
            found: Callable[[int], object] = self._kept.__getitem__
            return found
        return super().find_class(module, name)
