"""Draws docs/img/view.svg from a running charger: `.venv/bin/python docs/img/view_picture.py [--dir DIR] [--out FILE]`.

Takes the latest events and one snapshot over the control socket, so that the picture in the README is what the view
shows and not what somebody wished it showed.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

from rich.console import Console

from firmware.control_client import ControlClient, default_run_dir
from firmware.view import ViewModel, render

WIDTH, HEIGHT = 100, 28
# rich's own frame loads a font from the web; this one takes what the reader's machine has.
_FONTS = "Menlo, 'DejaVu Sans Mono', Consolas, monospace"
_FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
""".replace("FONTS", _FONTS)


def picture(model: ViewModel, clock: str) -> str:
    """The view as SVG."""
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(render(model, WIDTH, HEIGHT, clock), end="")
    return console.export_svg(title="quadrant run", code_format=_FRAME, unique_id="view")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=default_run_dir())
    parser.add_argument("--out", type=Path, default=Path("docs/img/view.svg"))
    args = parser.parse_args()
    with ControlClient(args.dir) as client:
        status = client.call("status")
        model = ViewModel(status.get("board", ""))
        for event in client.call("events", limit=20)["events"]:
            model.feed({"event": event})
        model.feed(status)
    args.out.write_text(picture(model, time.strftime("%H:%M:%S")))


if __name__ == "__main__":
    main()
