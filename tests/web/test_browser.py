"""The screen in a real browser in front of a whole charger: rig, guard, services and screen are real processes.

One charger and one browser serve all tests of this module, in their order; whatever a page says on its console, and
every violation of the content security policy, fails the test in which it happens.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.charger import QUADRANT, ROOT, Charger, wait_for
from tests.web.chromium import AXE, VIEWS, Heard, browser, charger_with_screen, executable, open_page, screen_log

pytest.importorskip("playwright", reason="the extra `browser` is not installed: make test-slow installs it")
from playwright.sync_api import expect

expect.set_options(timeout=60_000)  # five seconds are short for a browser that yields to the charger
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(executable() is None, reason="there is no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture(scope="module")
def desk(home: Path) -> Iterator[tuple[Charger, str]]:
    with charger_with_screen(home) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    yield heard
    assert heard.complaints == []


@pytest.fixture
def page(chromium: Any, desk: tuple[Charger, str], heard: Heard) -> Iterator[Any]:
    page = open_page(chromium, heard)
    page.goto(desk[1])
    yield page
    page.context.close()


def show(page: Any, view: str) -> None:
    page.locator(f'nav a[href="#{view}"]').click()
    expect(page.locator(f'nav a[href="#{view}"]')).to_have_attribute("aria-current", "page")


def test_the_page_loads_and_lives(page: Any, desk: tuple[Charger, str]) -> None:
    expect(page.locator('[data-test="link"]')).to_have_text("live")
    expect(page.locator('[data-test="role"]')).to_have_text("service")
    desk[0].wait_power(11_000.0)
    expect(page.locator('[data-test="state"]')).to_have_text("transfer: charging")
    expect(page.locator('[data-test="power"]')).to_have_text(re.compile(r"^\+1[01]\.\d\d kW$"))
    grid = page.locator('[data-test="line"] .node').first.locator(".n").first
    first = grid.inner_text()
    wait_for("another voltage", lambda: grid.inner_text() != first)
    assert re.fullmatch(r"2[123]\d\.\d V", first)
    assert page.evaluate("document.querySelectorAll('[data-test=line] .value small').length") > 12  # source and age


def test_power_is_asked_for_with_a_lease_and_written_down(page: Any, desk: tuple[Charger, str]) -> None:
    show(page, "power")
    page.locator('[data-test="power-kw"]').fill("-6")
    page.locator('[data-test="ask"]').click()
    expect(page.locator('[data-test="notice"]')).to_contain_text("Asked for −6.0 kW")
    expect(page.locator('[data-test="stack"] .bar').first).to_contain_text("screen: anybody at 127.0.0.1")
    desk[0].wait_power(-6_000.0)
    expect(page.locator('[data-test="state"]')).to_have_text("transfer: discharging")
    (noted,) = desk[0].events("person")
    assert noted["detail"] == "anybody at 127.0.0.1: asks for -6.0 kW for 30 min"


def test_a_change_is_seen_before_it_is_applied_and_taken_back_unless_it_is_kept(
    page: Any, desk: tuple[Charger, str]
) -> None:
    charger = desk[0]
    show(page, "parameters")
    limit = page.locator('[data-test="kind-power_limit"]')
    limit.locator("summary").click()
    limit.locator('input[name="discharge_pu"]').fill("2")
    limit.locator('[data-test="check"]').click()
    assert limit.locator('input[name="discharge_pu"]').evaluate(
        "(e) => !e.validity.valid"
    )  # the range is the browser's
    limit.locator('input[name="discharge_pu"]').fill("0.2")
    limit.locator('[data-test="check"]').click()
    expect(limit.locator('[data-test="difference"]')).to_contain_text("support.limit.discharge_pu")
    assert charger.ask("controls")["controls"] == []  # nothing was applied yet
    limit.locator('[data-test="apply"]').click()
    expect(page.locator(".trial")).to_be_visible()
    applied = "screen-power_limit"
    wait_for("guard applies it", lambda: any(applied in e["detail"] for e in charger.events("grid_controls")))
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".trial")).to_have_count(0)
    assert charger.ask("controls")["controls"] == []
    for told in (
        "changes power_limit: support.limit.charge_pu none -> 1",
        "takes the change of parameters back",
    ):  # the page is told by the feed, perhaps before the book
        wait_for(told, lambda told=told: any(told in e["detail"] for e in charger.events("person")))


def test_a_fault_from_the_panel_shows_trip_reason_and_record(page: Any, desk: tuple[Charger, str]) -> None:
    show(page, "faults")
    swell = page.locator('[data-test="fault-swell"]')
    swell.locator('input[name="share"]').fill("1.35")
    swell.locator('input[name="duration_s"]').fill("4")
    swell.get_by_role("button").click()
    expect(page.locator('[data-test="notice"]')).to_contain_text("Voltage swell: done.")
    expect(page.locator('[data-test="grid-state"]')).to_have_text(re.compile("grid (tripped|waiting to enter service)"))
    show(page, "live")
    expect(page.locator('[data-test="trip"]')).to_contain_text("Last trip: OV2")
    # The windows slide into the swell: with how much it trips is chance, beyond what limit is not.
    expect(page.locator('[data-test="trip"]')).to_contain_text("pu is above 1.200 pu")
    show(page, "protection")
    expect(page.locator('[data-test="grid-reason"]')).not_to_be_empty()
    show(page, "events")
    log = page.locator('[data-test="events"]')
    expect(log).to_contain_text("Grid protection tripped.")
    expect(log).to_contain_text("injects the fault swell: share 1.35, duration_s 4")
    expect(page.locator('[data-test="records"]')).to_contain_text("OV2")
    page.get_by_role("button", name=re.compile("^Show record")).first.click()
    expect(page.locator('[data-test="record"] .uplot').first).to_be_visible()


def test_a_screen_that_is_killed_comes_back_and_the_charger_never_noticed(page: Any, desk: tuple[Charger, str]) -> None:
    charger = desk[0]
    expect(page.locator('[data-test="link"]')).to_have_text("live")
    guard, services = charger.guard, charger.services
    os.kill(charger.running("firmware.web") or 0, signal.SIGKILL)
    expect(page.locator(".problem").first).to_contain_text("lost the screen's server")
    expect(page.locator('[data-test="link"]')).to_have_text("live")
    assert (charger.guard, charger.services) == (guard, services)
    show(page, "power")
    page.locator('[data-test="power-kw"]').fill("-7")
    page.locator('[data-test="ask"]').click()  # with the new server's token
    expect(page.locator('[data-test="notice"]')).to_contain_text("Asked for −7.0 kW")


def test_services_killed_from_the_panel_come_back_and_the_page_says_so(page: Any, desk: tuple[Charger, str]) -> None:
    before = desk[0].services
    show(page, "faults")
    page.locator('[data-test="fault-kill_services"]').get_by_role("button").click()
    expect(page.locator(".problem").first).to_be_visible()
    wait_for("other services", lambda: (desk[0].running("firmware.services") or before) != before)
    expect(page.locator('[data-test="link"]')).to_have_text("live")
    show(page, "events")
    expect(page.locator('[data-test="events"]')).to_contain_text("Services were started again.")


def test_the_scope_comes_as_csv(page: Any) -> None:
    show(page, "scope")
    page.wait_for_timeout(500)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    head, *rows = Path(download.value.path()).read_text().splitlines()
    assert head.startswith("wall_s,t,v_l1_v")
    assert len(rows) > 20


def test_a_plan_stands_beside_what_came_of_it(page: Any) -> None:
    now_s = (
        time.time()
    )  # the desk has no back end: the answer that the server's own test has, in front of the real page
    period = {"mode": "CentralSetpoint", "power_w": -7000.0, "low_w": -22_000.0, "high_w": 22_000.0}
    answer = {
        "plan": [{**period, "from_s": now_s - 1800.0, "to_s": now_s + 1800.0}],
        "actual": [{"from_s": now_s - 1800.0, "to_s": now_s, "power_w": -6500.0}],
        "planned_wh": -3500.0, "actual_wh": -3250.0,
    }  # fmt: skip
    page.route("**/api/plan", lambda route: route.fulfill(json=answer))
    show(page, "power")
    card = page.locator('[data-test="plan"]')
    expect(card).to_contain_text("Planned so far −3.50 kWh, came −3.25 kWh.")
    said = re.compile(r"planned: -7\.00 to -7\.00.*actual, mean: -6\.50")
    expect(card.get_by_role("img")).to_have_attribute("aria-label", said)


def test_the_keyboard_reaches_every_view_and_the_scope(page: Any) -> None:
    expect(page.locator('[data-test="link"]')).to_have_text("live")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator('nav a[href="#scope"]').focus()
    page.keyboard.press("Enter")
    charts = page.locator(".charts")
    charts.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator('[data-test="scope-state"]')).to_contain_text("Frozen")
    page.keyboard.press("+")
    expect(page.locator('[data-test="scope-state"]')).to_contain_text("+ 30.0 s")


def test_no_view_has_a_serious_fault_of_accessibility(page: Any) -> None:
    page.evaluate(AXE.read_text())  # not a script element: the policy holds for those, and stays on
    serious = []
    for view in VIEWS:
        show(page, view)
        page.wait_for_timeout(300)
        for kind in page.locator("details.kind").all()[:2]:
            kind.locator("summary").click()
        for theme, rules in (
            ("light", ""),
            ("dark", "runOnly: ['color-contrast'], "),
        ):  # of the rest nothing hangs on it
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            found = page.evaluate(
                f"axe.run(document, {{{rules}resultTypes: ['violations']}}).then((r) => r.violations)"
            )
            serious += [
                (view, theme, v["id"], [node["html"][:160] for node in v["nodes"]][:4])
                for v in found
                if v["impact"] in ("serious", "critical")
            ]
    assert serious == []


def test_every_view_fits_a_phone(chromium: Any, desk: tuple[Charger, str], heard: Heard) -> None:
    page = open_page(chromium, heard, phone=True, dark=True)
    page.goto(desk[1])
    for view in VIEWS:
        show(page, view)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page.context.close()


def test_roles_are_asked_for_when_there_are_passwords(page: Any, desk: tuple[Charger, str], home: Path) -> None:
    charger = desk[0]
    for role in ("viewer", "operator"):
        command = [*QUADRANT, "web", "password", role, "--dir", str(home)]
        line = f"the {role}'s own\n"
        done = subprocess.run(command, input=line, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
    expect(page.locator(".login")).to_be_visible()  # whoever was in is out
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator('[data-test="notice"]')).to_contain_text("That is not the password.")
    page.get_by_label("Password").fill("the viewer's own")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator('[data-test="role"]')).to_have_text("viewer")
    show(page, "power")
    expect(page.locator('[data-test="stop"]')).to_be_disabled()
    # A viewer who calls the server himself is refused by it.
    status = page.evaluate(
        "fetch('/api/me').then((r) => r.json()).then((me) => fetch('/api/stop', {method: 'POST', body: '{}', headers: "
        "{'content-type': 'application/json', 'x-quadrant-token': me.token}})).then((r) => r.status)"
    )
    assert status == 403
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Role").select_option("operator")
    page.get_by_label("Password").fill("the operator's own")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator('[data-test="role"]')).to_have_text("operator")
    show(page, "power")
    page.locator('[data-test="stop"]').click()
    expect(page.locator('[data-test="notice"]')).to_contain_text("Stopped")
    wait_for("guard has stopped", lambda: charger.events("operator_stop"))
    assert charger.events("person")[-1]["detail"] == "operator at 127.0.0.1: stop"
    show(page, "parameters")
    expect(page.get_by_text("Changing needs the role service.")).to_be_visible()
    assert "Traceback" not in screen_log(home)
