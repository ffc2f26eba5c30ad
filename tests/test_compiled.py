"""The optional compiled build: it is really used, says the same to the last bit, and a stale one is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.compiled import build, start
from hil.compiled.build import BuildError, modules, sources

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "out" / "compiled"
TICKS = 500
STATES = {"WAITING", "CONNECTED", "RIDING_THROUGH", "CEASED", "TRIPPED"}


def missing() -> str:
    try:
        build.check_tools()
    except BuildError as error:
        return str(error)
    return ""


def python(*arguments: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """-P: the checkout does not come before what PYTHONPATH names."""
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


# ------------------------------------------------------------------------------------------------------ the whole of it
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(missing()), reason=f"nothing can be compiled here: {missing()}")
def test_what_is_compiled_says_and_sends_the_same_as_the_sources_to_the_last_bit() -> None:
    made = python("-m", "hil.compiled.build", str(BUILD))
    assert made.returncode == 0, made.stderr[-2000:]
    told = [python("-m", "tests.compiled_story", str(TICKS), path=path) for path in (ROOT, BUILD)]
    assert [done.returncode for done in told] == [0, 0], told[0].stderr[-2000:] + told[1].stderr[-2000:]
    ours, theirs = (json.loads(done.stdout) for done in told)
    assert ours.pop("").endswith(".py")
    assert Path(theirs.pop("")).is_relative_to(BUILD)
    assert theirs == ours
    codes = [story for name, story in ours.items() if " " not in name]
    assert {word for story in codes for word in story.split()[1:]} == STATES
    assert "trip" in ours["replay de_vde_ar_n_4105_2018"].split()
    assert ours["lockstep copy"] == ours["lockstep original"]
    assert int(ours["lockstep copy"].split()[-2]) > 500
    assert {"pilot_lost", "grid_trip", "guard_restarted"} <= set(ours["lockstep faults"].split())
    assert "(compiled)" in python("-m", "firmware.cli", "--version", path=BUILD).stdout


# ------------------------------------------------------------------------------------------------------------ its parts
def stamp(root: Path, **other: Any) -> dict[str, Any]:
    mine = {"root": str(root), "python": sys.implementation.cache_tag, "sources": {"a.py": start.digest(root / "a.py")}}
    return {**mine, "modules": {"pack.a": "pack/a.so"}, **other}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("x = 1\n")
    return tmp_path


def test_a_build_of_the_sources_as_they_are_may_be_used(root: Path) -> None:
    assert start.problem(root, stamp(root)) == ""


def test_a_build_of_other_sources_or_of_another_python_is_refused_with_the_reason(root: Path) -> None:
    made = stamp(root)
    assert "built for cpython-27" in start.problem(root, stamp(root, python="cpython-27"))
    (root / "a.py").write_text("x = 2\n")
    assert start.problem(root, made) == "a.py has changed since it was built"
    (root / "a.py").unlink()
    assert "cannot be read" in start.problem(root, made)


def test_a_stale_build_ends_python_at_its_start_instead_of_running_the_sources(root: Path) -> None:
    shutil.copy(ROOT / "hil" / "compiled" / "start.py", root / "sitecustomize.py")
    (root / start.STAMP).write_text(json.dumps(stamp(root)))
    assert python("-c", "print('runs')", path=root).stdout == "runs\n"
    (root / "a.py").write_text("x = 2\n")
    done = python("-c", "print('runs')", path=root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a.py has changed since it was built. `make compiled` builds it anew." in done.stderr


def test_a_compiled_module_does_not_stand_in_for_one_of_another_checkout(root: Path) -> None:
    finder = start.Compiled(root / "out", stamp(root))
    assert finder.find_spec("pack.b", None) is None
    found = finder.find_spec("pack.a", [str(root / "pack")])
    assert found is not None
    assert found.origin == str(root / "out/pack/a.so")
    with pytest.raises(ImportError, match="was compiled from"):
        finder.find_spec("pack.a", ["/elsewhere/pack"])


def test_only_plain_classes_are_marked_and_the_rest_of_a_source_stays_as_it_is(tmp_path: Path) -> None:
    """The mark lets copy and pickle make an object without its __init__."""
    text = (
        '"""A source."""\n\nfrom __future__ import annotations\n\n\nclass A:\n    pass\n\n\n'
        "@dataclass\nclass B:\n    x: int\n\n\nclass C(NamedTuple):\n    x: int\n\n\nclass D(A):\n    pass\n"
    )
    file = tmp_path / "a.py"
    file.write_text(text)
    build._let_copies_be_made(file)
    marked = file.read_text().splitlines()
    assert [marked[k + 1] for k, line in enumerate(marked) if line.startswith("@mypyc_attr")] == [
        "class A:",
        "class D(A):",
    ]
    rest = [line for line in marked if "mypyc_attr" not in line]
    assert rest == text.splitlines()


def test_a_build_knows_every_source_that_it_took_a_type_or_a_constant_from() -> None:
    found = sources(modules())
    assert set(modules()) <= set(found)
    assert {"firmware/grid_codes/chain.py", "firmware/grid_codes/__init__.py", "hil/compiled/start.py"} <= set(found)
    assert not [name for name in found if not (ROOT / name).is_file()]


def test_what_is_missing_to_build_is_said_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "gcc")
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(BuildError, match=r"there is no C compiler \(gcc\): apt-get install gcc"):
        build.check_tools()
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    monkeypatch.setattr(build.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(BuildError, match=r"headers are missing .*python3-dev"):
        build.check_tools()
