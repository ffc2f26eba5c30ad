"""`make screenshots`: pictures of the screen for README and docs, of a whole charger, in light, dark and on a phone.

Written to docs/img as PNG with a palette: a screen has few colours, so a picture is a fifth of its size.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from tests.system.charger import Charger, RigClient
from tests.web.chromium import browser, charger_with_screen, executable, open_page

OUT = Path(__file__).parents[2] / "docs" / "img"
COLOURS = 200


def shoot(page: Any, name: str, *, height: int = 0) -> None:
    """One picture; what has no room is cut at `height`."""
    path = OUT / f"screen-{name}.png"
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height} if height else None
    page.screenshot(path=path, full_page=bool(height), timeout=60_000, **({"clip": clip} if clip else {}))
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path.relative_to(OUT.parents[1])}: {path.stat().st_size / 1000:.0f} kB")


def show(page: Any, view: str, settle_s: float = 1.0) -> None:
    page.goto(f"{page.url.partition('#')[0]}#{view}")
    page.wait_for_timeout(settle_s * 1000)


def steady(charger: Charger, page: Any, view: str, name: str) -> None:
    """A picture while 7 kW flow. On a busy machine an emulated device may fall silent for a moment, and then there is a
    trip in the picture: it is taken again."""
    for _ in range(5):
        if charger.snapshot().get("latched"):
            charger.ask("clear")
        charger.wait_power(-7000.0)
        show(page, view)
        shoot(page, name)
        if charger.snapshot().get("state") == "transfer: discharging":
            return
    raise RuntimeError(f"The charger is too restless for a picture of {name}: {charger.story()}")


def story(charger: Charger, url: str, chromium: Any, rig: RigClient) -> None:
    charger.wait_state("transfer: charging")
    charger.ask("power", power_w=-7000.0, for_s=3600.0, reason="evening peak", source="energy manager")
    charger.wait_power(-7000.0)
    light, dark = open_page(chromium), open_page(chromium, dark=True)
    phone = open_page(chromium, dark=True, phone=True)
    for page in (light, dark, phone):
        page.goto(url)
        page.locator('[data-test="link"].on').wait_for()
    for page, view, name in (
        (light, "live", "live-light"), (dark, "live", "live-dark"), (phone, "live", "live-phone"),
        (dark, "power", "power-dark"),
    ):  # fmt: skip
        steady(charger, page, view, name)
    show(light, "parameters")
    limit = light.locator('[data-test="kind-power_limit"]')
    limit.locator("summary").click()
    limit.locator('input[name="discharge_pu"]').fill("0.2")
    limit.locator('[data-test="check"]').click()
    limit.locator('[data-test="difference"]').wait_for()
    shoot(light, "parameters-light")
    show(light, "faults")
    shoot(light, "faults-light")
    # A sag that is ridden through for as long as the code wants it, and then a trip under the eyes of the plane.
    charger.wait_power(-7000.0)
    show(dark, "protection")
    show(phone, "protection")
    rig.ask(plant={"sag": 0.6, "duration_s": 30.0})
    time.sleep(1.2)
    shoot(dark, "protection-dark")
    shoot(phone, "protection-phone")
    charger.wait_state("fault", "finished", "connected", "idle")
    show(light, "scope")
    light.get_by_role("button", name="1 min", exact=True).click()
    time.sleep(6.0)
    shoot(light, "scope-light")
    show(dark, "events", 3.0)
    dark.get_by_role("button", name="Show record").first.click()
    dark.locator('[data-test="record"] .uplot').first.wait_for()
    dark.wait_for_timeout(500)
    shoot(dark, "events-dark", height=1100)


def main() -> int:
    if executable() is None:
        print("There is no Chromium: apt-get install chromium", file=sys.stderr)
        return 1
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="q") as directory, charger_with_screen(Path(directory)) as (charger, url):
        rig = RigClient(Path(directory))
        try:
            with browser() as chromium:
                story(charger, url, chromium, rig)
        finally:
            rig.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
