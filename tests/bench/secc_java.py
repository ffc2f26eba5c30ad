"""The process `secc` with the package's Java codec in the place of ours. Only for the comparison of `make bench`.

.venv-secc/bin/python -P tests/bench/secc_java.py --socket DIR/secc.sock --interface lo
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

from iso15118.shared.exificient_exi_codec import ExificientEXICodec

from firmware.bridges.secc.__main__ import main


class JavaCodec:
    """As the package uses it; a JVM is its child."""

    def __init__(self) -> None:
        self._jar = ExificientEXICodec()

    def encode(self, message: str, namespace: str) -> bytes:
        return bytes(self._jar.encode(message, namespace))

    def decode_message(self, data: bytes, namespace: str) -> dict[str, Any]:
        return dict(json.loads(self._jar.decode(data, namespace)))

    def get_version(self) -> str:
        return str(self._jar.get_version())


def codec(options: argparse.Namespace) -> JavaCodec:
    return JavaCodec()


if __name__ == "__main__":
    sys.stdout = sys.stderr  # the jar's wrapper prints
    raise SystemExit(main(codec))
