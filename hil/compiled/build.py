"""`python -m hil.compiled.build DIR`: compiles what a step runs through into DIR (`make compiled`: out/compiled)."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

from hil.compiled.start import STAMP, digest, problem

ROOT = Path(__file__).resolve().parents[2]
GROUP = "quadrant"  # one: calls between these modules are calls of C functions
FOLDERS = ("firmware/protection", "firmware/grid_support")
# Read once at start, so they have nothing to gain.
AS_THEY_ARE = ("__init__", "controls", "settings", "effective")
# Python cannot subclass a compiled class, so who does is compiled too.
SUBCLASSES = ("hil/conformance/forgetful.py",)


class BuildError(Exception):
    """What is missing or failed, in a sentence."""


def modules(root: Path = ROOT) -> list[str]:
    """The files that are compiled, relative to the checkout."""
    found = [p for name in FOLDERS for p in sorted((root / name).glob("*.py")) if p.stem not in AS_THEY_ARE]
    return [*(p.relative_to(root).as_posix() for p in found), *SUBCLASSES]


def sources(compiled: list[str], root: Path = ROOT) -> list[str]:
    """The files that a build is made of: what is compiled and all of ours that it imports, at any depth, for types and
    constants of theirs are in the C; and what builds. Relative to the checkout."""
    found, left = set[str](), [*compiled, "hil/compiled/build.py"]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse((root / name).read_bytes())):
            if isinstance(node, ast.Import):
                said = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                said = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for module in said:
                path = module.replace(".", "/")
                left += [p for p in (f"{path}.py", f"{path}/__init__.py") if (root / p).is_file()]
    return sorted(found)


def check_tools() -> None:
    """BuildError when the compiler, Python's headers or mypyc are missing."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise BuildError(f"there is no C compiler ({compiler}): apt-get install gcc")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not headers.exists():
        raise BuildError(f"Python's headers are missing ({headers}): apt-get install python3-dev")
    try:
        import mypyc  # noqa: F401  # only whether it is there
    except ImportError:
        raise BuildError("mypyc is missing: it comes with mypy, which `make setup` installs") from None


def is_current(build: Path) -> bool:
    """The build in `build` is of the sources of now, by this Python."""
    try:
        stamp = json.loads((build / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = stamp["root"] == str(ROOT) and stamp["mypyc"] == version("mypy")
    return same and [*stamp["modules"]][:-1] == _names(modules()) and not problem(build, stamp)


def _names(files: list[str]) -> list[str]:
    return [file.removesuffix(".py").replace("/", ".") for file in files]


def build(target: Path) -> None:
    """Make or replace `target`. BuildError when it cannot; then `target` is as it was."""
    check_tools()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compiled-", dir=target.parent) as name:
        work = Path(name).resolve()
        for package in ("firmware", "hal", "boards", "hil"):
            shutil.copytree(ROOT / package, work / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", work)
        files = modules(work)
        stamp = {
            "root": str(ROOT),
            "python": sys.implementation.cache_tag,
            "mypyc": version("mypy"),
            "sources": {name: digest(work / name) for name in sources(files, work)},
        }
        for file in files:
            _let_copies_be_made(work / file)
        made = _compile(work, files)
        stamp["modules"] = {name: made[name] for name in [*_names(files), *(n for n in made if n.endswith("__mypyc"))]}
        new = work / "new"
        for file in made.values():
            (new / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(work / file, new / file)
        shutil.copy(Path(__file__).with_name("start.py"), new / "sitecustomize.py")
        (new / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        if target.exists():
            target.rename(work / "old")
        new.rename(target)


# As mypyc has it by default, making an object without its __init__, as a copy is made, is refused. With the first
# attribute alone mypyc 2.4.1 never calls __init__ where Python makes the object; with the second it does.
_IMPORT = "from mypy_extensions import mypyc_attr\n"
_COPIED = "@mypyc_attr(serializable=True, allow_interpreted_subclasses=True)\n"


def _let_copies_be_made(file: Path) -> None:
    """Mark each plain class in this copy of a source. (Not in the source: a charger has no need of mypy_extensions.)"""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.ClassDef) and not node.decorator_list:
            bases = {base.id if isinstance(base, ast.Name) else ast.unparse(base) for base in node.bases}
            if not bases & {"NamedTuple", "enum.Enum", "Enum", "Protocol"}:
                lines.insert(node.lineno - 1, _COPIED)
    if _COPIED in lines:
        lines.insert(lines.index("from __future__ import annotations\n") + 1, _IMPORT)
        file.write_text("".join(lines), encoding="utf-8")


def _compile(work: Path, sources: list[str]) -> dict[str, str]:
    """Module -> its C module, relative to `work`, where all happens."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    here = Path.cwd()
    os.chdir(work)
    try:
        # mypyc ends the process where it refuses a source, after it has said which line.
        extensions = mypycify(sources, opt_level="2", debug_level="0", target_dir="c", group_name=GROUP)
        command = Distribution({"name": "quadrant-compiled", "ext_modules": extensions}).get_command_obj("build_ext")
        command.inplace, command.build_temp, command.parallel = True, "o", os.cpu_count()
        command.ensure_finalized()
        command.run()
        return {e.name: Path(command.get_ext_fullpath(e.name)).relative_to(work).as_posix() for e in extensions}
    finally:
        os.chdir(here)


def main() -> int:
    target = Path(sys.argv[1])
    if is_current(target):
        return 0
    print(f"compiling {len(modules())} modules into {target} ...", file=sys.stderr, flush=True)
    try:
        build(target)
    except BuildError as error:
        print(f"Nothing is compiled: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
