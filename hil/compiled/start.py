"""Copied into a build as its `sitecustomize.py`: Python runs it first where PYTHONPATH names the build.

It lets the compiled modules stand in for their sources, and ends the process with one sentence when they are of other
sources than those that lie in the checkout now. Standard library only: nothing of the checkout is imported yet.
"""

from __future__ import annotations

import copyreg
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

STAMP = "compiled.json"  # in the build: what it was made of, and by what


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def problem(build: Path, stamp: dict[str, Any]) -> str:
    """Why this build must not be used; '' when it may."""
    root = Path(stamp["root"])
    if sys.implementation.cache_tag != stamp["python"]:
        return f"it was built for {stamp['python']}, this is {sys.implementation.cache_tag}"
    for name, then in stamp["sources"].items():
        try:
            if digest(root / name) != then:
                return f"{name} has changed since it was built"
        except OSError as error:
            return f"its source cannot be read: {error}"
    return ""


class Compiled(MetaPathFinder):
    """Finds the modules of a build."""

    def __init__(self, build: Path, stamp: dict[str, Any]) -> None:
        self._root = Path(stamp["root"])
        self._files: dict[str, str] = {name: str(build / file) for name, file in stamp["modules"].items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return None
        home = self._root.joinpath(*fullname.split(".")[:-1])
        if path is not None and home not in [Path(p).resolve() for p in path]:
            raise ImportError(f"{fullname} was compiled from {home}, here it is of {', '.join(path)}")
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, file, self._files))


class _Loader(ExtensionFileLoader):
    """Tells `copy` and `pickle` of the data classes of what was loaded. A compiled module imports others of the build
    by itself, past every finder: so it is not only this module that is looked through."""

    def __init__(self, fullname: str, file: str, build: Iterable[str]) -> None:
        super().__init__(fullname, file)
        self._build = build

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for other in self._build:
            for thing in list(vars(sys.modules[other]).values()) if other in sys.modules else ():
                native = isinstance(thing, type) and "__mypyc_attrs__" in vars(thing)
                if native and hasattr(thing, "__dataclass_fields__") and thing not in copyreg.dispatch_table:
                    copyreg.pickle(thing, _reduce)


def _reduce(thing: Any) -> tuple[type, tuple[object, ...]]:
    """Copy and pickle set attributes of a new object, which a frozen data class refuses: it is made by its values."""
    return type(thing), tuple(getattr(thing, name) for name in type(thing).__dataclass_fields__)


def begin(build: Path) -> None:
    stamp = json.loads((build / STAMP).read_text(encoding="utf-8"))
    wrong = problem(build, stamp)
    if wrong:
        print(f"The compiled build {build} is not used: {wrong}. `make compiled` builds it anew.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(2)  # an exception here would be a line on the terminal, and Python would go on with the sources
    sys.meta_path.insert(0, Compiled(build, stamp))


if __name__ == "sitecustomize":
    begin(Path(__file__).resolve().parent)
