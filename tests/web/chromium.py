"""The system's Chromium through Playwright, and a whole charger for it to look at."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.charger import Charger, board_file, clean_up, wait_for

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
VIEWS = ("live", "power", "protection", "scope", "events", "parameters", "faults")
# What a charger in the middle of being killed makes a browser say; nothing of it is a fault of the page.
HARMLESS = ("Failed to load resource", "net::ERR_")


def executable() -> str | None:
    """Path of the browser; None: there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


def free_tcp_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


@contextlib.contextmanager
def charger_with_screen(run_dir: Path, **board: Any) -> Iterator[tuple[Charger, str]]:
    """A charger with its rig, car and screen; the address of the screen. It is ended with the block."""
    port = free_tcp_port()
    charger = Charger(board_file(run_dir / "board.toml", own_rig=True, web_port=port, **board), run_dir)
    try:
        wait_for("the screen serves", lambda: "Serving" in screen_log(run_dir), every_s=0.1)
        yield charger, f"http://localhost:{port}"
    finally:
        charger.end()
        clean_up(run_dir)


def screen_log(run_dir: Path) -> str:
    path = run_dir / "log" / "web.log"
    return path.read_text() if path.exists() else ""


@dataclass
class Heard:
    """What the pages complained about: violations of the policy, exceptions, errors on the console."""

    complaints: list[str] = field(default_factory=list)

    def listen(self, page: Any) -> None:
        page.add_init_script(
            "addEventListener('securitypolicyviolation', "
            "(e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}`));"
        )
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("console", lambda m: self._console(m.type, m.text))

    def _console(self, kind: str, text: str) -> None:
        if kind == "error" and not any(word in text for word in HARMLESS):
            self.complaints.append(text)


@contextlib.contextmanager
def polite() -> Iterator[None]:
    """What is started meanwhile yields to the charger: on two cores a browser starves emulated devices, which then
    rightly trip. (Only root may take the politeness back.)"""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 10)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with polite(), sync_playwright() as playwright:
        # No sandbox: tests may run as root in a container, and every page is our own.
        chromium = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(chromium: Any, heard: Heard | None = None, *, dark: bool = False, phone: bool = False) -> Any:
    """A page in a context of its own: no cookie of another is in it."""
    size = {"width": 390, "height": 844} if phone else {"width": 1360, "height": 860}
    context = chromium.new_context(
        viewport=size, color_scheme="dark" if dark else "light", reduced_motion="reduce", bypass_csp=False
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    if heard is not None:
        heard.listen(page)
    return page
