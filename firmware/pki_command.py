"""`quadrant pki`: certificates for ISO 15118 on desk and in the laboratory, made in the SECC's own environment."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import firmware

HOME = Path(firmware.__path__[0])


def make(args: argparse.Namespace) -> int:
    """Run firmware/bridges/secc/pki.py, which needs `cryptography`, in the environment that has it."""
    python = Path(args.python) if args.python else HOME.parent / ".venv-secc" / "bin" / "python"
    if not python.exists():
        print(
            f"There is no {python}. `make setup` makes the SECC's environment; --python names another one.",
            file=sys.stderr,
        )
        return 1
    script = HOME / "bridges" / "secc" / "pki.py"
    return subprocess.run([str(python), "-P", str(script), args.folder], check=False).returncode


def register(subparsers: Any) -> None:
    """Add `pki`."""
    parser = subparsers.add_parser(
        "pki",
        help="make certificates for ISO 15118 over TLS, for desk and laboratory",
        description="Makes FOLDER/charger for the charger and FOLDER/vehicle for the rig's car. The keys of the "
        "authorities are thrown away, and a folder that is not empty is never touched.",
        example="quadrant pki ./pki",
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder to make")
    parser.add_argument("--python", metavar="FILE", help="Python of the SECC's environment (default: .venv-secc)")
    parser.set_defaults(run=make)
