"""The same rows once more with the compiled build (`make compiled`): a process of its own, in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

from firmware.build import how
from hil.compiled import build
from tests.bench.harness import Row

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "out" / "compiled"


def deciding(ours: list[Row], built: list[Row]) -> list[Row]:
    """Both, where the target is the build's: the sources miss it only where nothing could be built."""
    if all(row.skipped for row in built):
        return ours + built
    return [replace(row, missed="") for row in ours] + built


def rows(name: str, seconds: float) -> list[Row]:
    """The rows of `name`, compiled; one that says why not where nothing can be built. Nothing when this
    is that process."""
    if how() == "compiled":
        return []
    label = f"{name}, compiled"
    try:
        build.check_tools()
    except build.BuildError as error:
        return [Row(label, skipped=str(error))]
    # Only where it has to: a build of the sources of now is left alone.
    made = subprocess.run([sys.executable, "-m", "hil.compiled.build", str(BUILD)], cwd=ROOT, capture_output=True)
    if made.returncode:
        return [Row(label, skipped=f"the build failed: {made.stderr.decode(errors='replace').strip()[-500:]}")]
    command = [sys.executable, "-P", "-m", "tests.bench.run", name, "--json", "--seconds", f"{seconds:g}"]
    environment = {**os.environ, "PYTHONPATH": f"{BUILD}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: a target is missed, which its row says
        return [Row(label, skipped=f"it ended with {done.returncode}: {done.stderr.strip()[-500:]}")]
    known = {field.name for field in fields(Row)}
    told = [Row(**{k: v for k, v in row.items() if k in known}) for row in json.loads(done.stdout)["rows"]]
    return [
        replace(row, name=f"{row.name}, compiled", missed=row.missed and f"{row.missed} (compiled)") for row in told
    ]
