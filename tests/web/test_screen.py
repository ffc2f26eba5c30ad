"""The screen's server: what everybody sees, what a role may do, what is refused, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firmware.web import gate as gate_module
from firmware.web.access import FREE_TRIES, Role, save_password
from firmware.web.feed import COLUMNS
from firmware.web.gate import TOKEN_HEADER
from tests.fake_charger import served
from tests.view_snapshot import snapshot
from tests.web.conftest import PASSWORDS, Desk, FakeRig

POWER = {"power_w": -7000, "for_s": 1800, "reason": "peak"}
COMMANDS = {
    "/api/power": (Role.OPERATOR, POWER, "power"),
    "/api/stop": (Role.OPERATOR, {}, "stop"),
    "/api/start": (Role.OPERATOR, {}, "start"),
    "/api/clear": (Role.SERVICE, {}, "clear"),
    "/api/parameters/confirm": (Role.SERVICE, {}, "controls_confirm"),
    "/api/parameters/revert": (Role.SERVICE, {}, "controls_revert"),
}
VIEWS = ("/api/scope", "/api/scope.csv", "/api/events", "/api/plane", "/api/parameters", "/api/faults")


# ------------------------------------------------------------------------------------------------------------ headers
@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/me", "/api/nothing", "/static/../gate.py"])
def test_every_answer_carries_the_policy_that_lets_nothing_of_others_in(desk: Desk, path: str) -> None:
    headers = desk.browser().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"]


def test_nothing_outside_of_the_static_files_is_served(desk: Desk) -> None:
    browser = desk.browser()
    for path in ("/static/../gate.py", "/static/%2e%2e/gate.py", "/static/..%2f..%2fgate.py", "/web_passwords.json"):
        assert browser.get(path).status_code == 404


# ----------------------------------------------------------------------------------------------------- who may what
@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_needs_its_role_and_is_written_down_with_who_and_what(locked: Desk, path: str) -> None:
    need, body, command = COMMANDS[path]
    for role in Role:
        browser = locked.logged_in(role)
        before = len(locked.calls())
        answer = browser.post(path, json=body)
        if role < need:
            assert answer.status_code == 403
            assert f"needs the role {need.name.lower()}" in answer.json()["error"]
            assert len(locked.calls()) == before
        else:
            assert answer.status_code == 200, answer.text
            assert locked.calls()[-1][0] == command
            assert locked.notes()[-1].startswith(f"{role.name.lower()} at 127.0.0.1: ")


@pytest.mark.parametrize("path", [*COMMANDS, "/api/logout", "/api/parameters/apply", "/api/faults/inject"])
def test_nobody_commands_without_logging_in(locked: Desk, path: str) -> None:
    assert locked.browser().post(path, json={}).status_code == 401
    assert locked.calls() == []


@pytest.mark.parametrize("path", VIEWS)
def test_nobody_sees_without_logging_in(locked: Desk, path: str) -> None:
    answer = locked.browser().get(path)
    assert answer.status_code == 401
    assert answer.json() == {"ok": False, "error": "Log in first."}


def test_the_stream_is_not_for_who_is_not_logged_in(locked: Desk) -> None:
    assert locked.browser().get("/api/stream").status_code == 401


def test_whoever_is_not_logged_in_learns_which_roles_there_are_and_nothing_else(locked: Desk) -> None:
    assert locked.browser().get("/api/me").json() == {
        "role": None, "problem": "", "roles": ["viewer", "operator", "service"]
    }  # fmt: skip


def test_an_emulated_board_without_passwords_is_open_on_its_loopback(desk: Desk) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        browser = desk.opened(host)
        assert browser.get("/api/me").json()["role"] == "service"
        assert browser.post("/api/power", json=POWER).status_code == 200
    assert desk.notes()[-1] == "anybody at 127.0.0.1: asks for -7.0 kW for 30 min (peak)"


def test_a_real_board_without_passwords_shows_itself_and_obeys_nobody(real: Desk) -> None:
    browser = real.opened()
    assert browser.get("/api/me").json()["role"] == "viewer"
    assert browser.get("/api/scope").status_code == 200
    for path, (_, body, _) in COMMANDS.items():
        assert browser.post(path, json=body).status_code == 403
    assert real.calls() == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1"])
def test_a_name_that_only_points_here_is_not_answered(desk: Desk, host: str) -> None:
    """DNS rebinding: a page of the internet whose name resolves to the loopback is of its own origin, not of ours."""
    answer = desk.browser(host).get("/api/me")
    assert answer.status_code == 403
    assert "token" not in answer.text


@pytest.mark.parametrize("address", ["192.168.1.9", "::ffff:10.0.0.1", "fe80::1", "?"])
def test_without_a_password_nobody_of_another_machine_is_answered(desk: Desk, address: str) -> None:
    """The last password may go while the screen still listens everywhere: the next second must not be anybody's."""
    answer = desk.browser(address=address).get("/api/me")
    assert answer.status_code == 403
    assert "token" not in answer.text


# ------------------------------------------------------------------------------------------------- from our own pages
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "https://localhost"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_command_of_another_page_is_refused_even_with_cookie_and_token(locked: Desk, headers: dict[str, str]) -> None:
    browser = locked.logged_in(Role.SERVICE)
    answer = browser.post("/api/stop", json={}, headers=headers)
    assert answer.status_code == 403
    assert "own pages only" in answer.json()["error"]
    assert locked.calls() == []


def test_a_proxy_that_takes_the_tls_off_is_no_other_page(locked: Desk) -> None:
    browser = locked.logged_in(Role.OPERATOR)
    headers = {"origin": "https://charger.example", "host": "charger.example", "sec-fetch-site": "same-origin"}
    headers["cookie"] = f"quadrant-8080={browser.cookies['quadrant-8080']}"
    assert browser.post("/api/stop", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("token", ["", "guess", "é"])
def test_a_command_without_the_session_s_token_is_refused(locked: Desk, token: str) -> None:
    browser = locked.logged_in(Role.SERVICE)
    answer = browser.post("/api/stop", json={}, headers={TOKEN_HEADER: token.encode()})
    assert answer.status_code == 403
    assert locked.calls() == []


def test_the_token_of_another_session_does_not_do(locked: Desk) -> None:
    one, other = locked.logged_in(Role.SERVICE), locked.logged_in(Role.SERVICE)
    answer = one.post("/api/stop", json={}, headers={TOKEN_HEADER: other.headers[TOKEN_HEADER]})
    assert answer.status_code == 403


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(locked: Desk) -> None:
    answer = locked.browser().post("/api/login", json={"role": "viewer", "password": PASSWORDS[Role.VIEWER]})
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("quadrant-8080=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_no_get(desk: Desk, path: str) -> None:
    assert desk.opened().get(path).status_code == 405
    assert desk.calls() == []


# ------------------------------------------------------------------------------------------------------------- bodies
@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"power_w=1", "application/x-www-form-urlencoded", 415),
        (b'{"power_w": 1}', "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 16000, "application/json", 400),
        (b" " * (gate_module.MAX_BODY_BYTES + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_no_command_is_one_sentence(desk: Desk, content: bytes, kind: str, status: int) -> None:
    answer = desk.opened().post("/api/power", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"].endswith(".")
    assert desk.charger.charger.calls == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "power_w must be a number."),
        ({"power_w": "7", "for_s": 1}, "power_w must be a number."),
        ({"power_w": True, "for_s": 1}, "power_w must be a number."),
        ({"power_w": 1, "for_s": None}, "for_s must be a number."),
        ({"power_w": float("nan"), "for_s": 1}, "power_w must be a number."),
        ({"power_w": 1, "for_s": float("inf")}, "for_s must be a number."),
        ({"power_w": 10**400, "for_s": 1}, "power_w must be a number."),
        ({**POWER, "reason": "x" * 121}, "reason must be at most 120 printable characters."),
        ({**POWER, "reason": "a\nb"}, "reason must be at most 120 printable characters."),
        ({**POWER, "reason": 3}, "reason must be at most 120 printable characters."),
        ({**POWER, "power_w": 1e9}, "power_w = 1e+09 is outside this charger's ratings: -22000 W to 22000 W."),
    ],
)
def test_a_wrong_request_for_power_is_refused_with_its_reason(desk: Desk, body: dict[str, Any], sentence: str) -> None:
    content = json.dumps(body).encode()
    answer = desk.opened().post("/api/power", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 409)
    assert answer.json() == {"ok": False, "error": sentence}
    assert desk.calls() == []


def test_what_the_charger_refused_is_written_down_too(desk: Desk) -> None:
    desk.opened().post("/api/power", json={**POWER, "power_w": 1e6})
    assert "refused, power_w = 1e+06 is outside" in desk.notes()[-1]


def test_what_cannot_be_written_down_is_not_done(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from firmware.services.control import Refused

    def full(who: str, text: str) -> dict[str, Any]:
        raise Refused("the records cannot be written.")

    monkeypatch.setattr(desk.charger.charger, "note", full)
    browser = desk.opened()
    assert browser.post("/api/power", json=POWER).status_code == 409
    assert desk.calls() == []
    browser.post("/api/stop", json={})
    assert desk.calls() == [("stop",)]  # a stop waits for no record


# -------------------------------------------------------------------------------------------------------------- login
def test_wrong_passwords_make_everybody_wait_and_are_written_down(locked: Desk) -> None:
    browser = locked.browser()
    wrong = {"role": "service", "password": "not this one"}
    for _ in range(FREE_TRIES):
        assert browser.post("/api/login", json=wrong).status_code == 403
    answer = browser.post("/api/login", json={"role": "service", "password": PASSWORDS[Role.SERVICE]})
    assert answer.status_code == 429
    assert "try again in 1 s" in answer.json()["error"]
    assert locked.notes().count("somebody at 127.0.0.1: wrong password for service") == FREE_TRIES
    locked.clock.now += 1.1
    assert locked.logged_in(Role.SERVICE).get("/api/me").json()["role"] == "service"


@pytest.mark.parametrize(
    "body", [{}, {"role": "admin", "password": "x"}, {"role": "viewer", "password": None}, {"role": []}]
)
def test_a_login_that_is_none_is_refused(locked: Desk, body: dict[str, Any]) -> None:
    assert locked.browser().post("/api/login", json=body).status_code == 403


def test_a_login_from_another_page_is_refused(locked: Desk) -> None:
    body = {"role": "viewer", "password": PASSWORDS[Role.VIEWER]}
    assert locked.browser().post("/api/login", json=body, headers={"origin": "http://evil.example"}).status_code == 403


def test_whoever_logs_out_is_out(locked: Desk) -> None:
    browser = locked.logged_in(Role.OPERATOR)
    secret = browser.cookies["quadrant-8080"]
    assert browser.post("/api/logout", json={}).status_code == 200
    stolen = locked.browser()
    stolen.cookies.set("quadrant-8080", secret)
    assert stolen.get("/api/scope").status_code == 401


def test_a_new_password_ends_all_sessions_and_the_first_one_closes_an_open_desk(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware.web.access.SCRYPT_N", 2)
    browser = desk.opened()
    assert browser.get("/api/scope").status_code == 200
    save_password(desk.dir, Role.SERVICE, PASSWORDS[Role.SERVICE])
    assert desk.gate.look()
    assert browser.get("/api/scope").status_code == 401
    inside = desk.logged_in(Role.SERVICE)
    save_password(desk.dir, Role.VIEWER, PASSWORDS[Role.VIEWER])
    assert desk.gate.look()
    assert not desk.gate.look()
    assert inside.get("/api/scope").status_code == 401


def test_a_damaged_password_file_locks_and_says_so(desk: Desk) -> None:
    (desk.dir / "web_passwords.json").write_text("{")
    desk.gate.look()
    me = desk.browser().get("/api/me").json()
    assert me["role"] is None
    assert "damaged" in me["problem"]
    assert desk.browser().get("/api/scope").status_code == 401


# --------------------------------------------------------------------------------------------------------------- down
def test_the_scope_is_what_was_seen_and_comes_as_csv(desk: Desk) -> None:
    for i in range(5):
        line = json.dumps({"snapshot": snapshot(t=900.0 + i / 10, v_dc_v=400.0 + i, soc_pct=None)})
        desk.screen.feed.take(line.encode())
    browser = desk.browser()
    answer = browser.get("/api/scope").json()
    assert answer["columns"] == list(COLUMNS)
    assert answer["data"][COLUMNS.index("v_dc_v")] == [400.0, 401.0, 402.0, 403.0, 404.0]
    assert answer["data"][COLUMNS.index("soc_pct")] == [None] * 5
    csv = browser.get("/api/scope.csv?from=900.05&to=900.25")
    head, *rows = csv.text.splitlines()
    assert head == "wall_s," + ",".join(COLUMNS)
    assert [row.split(",")[:2] for row in rows] == [["1700000900.100", "900.100"], ["1700000900.200", "900.200"]]
    assert ",," in rows[0]  # unknown is empty, not zero
    assert "attachment" in csv.headers["content-disposition"]
    assert browser.get("/api/scope.csv?from=now").status_code == 400


@pytest.mark.parametrize("limit", ["0", "-1", "5001", "x", "9" * 5000, "٣"])
def test_a_limit_out_of_range_is_one_sentence(desk: Desk, limit: str) -> None:
    answer = desk.browser().get("/api/events", params={"limit": limit})
    assert answer.json() == {"ok": False, "error": "limit must be a whole number from 1 to 5000."}


def test_without_a_charger_the_screen_says_so_and_lives(tmp_path: Path) -> None:
    with served(tmp_path, snapshot()) as charger:
        desk = Desk(tmp_path, charger)
    for path in ("/api/events", "/api/plane", "/api/parameters", "/api/sessions", "/api/records"):
        answer = desk.browser().get(path)
        assert answer.status_code == 503
        assert answer.json()["error"].endswith((".", "runs"))
    assert desk.opened().post("/api/stop", json={}).status_code == 503
    assert desk.browser().get("/").status_code == 200


def test_the_plane_is_that_of_the_loaded_code(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"controls": [], "refused": ""}
    monkeypatch.setattr(desk.charger.charger.grid, "show", lambda: nothing)
    plane = desk.browser().get("/api/plane").json()
    assert plane["code"] == "de_vde_ar_n_4105_2018"
    trips = {t["id"]: t for t in plane["voltage"]["trips"] + plane["frequency"]["trips"]}
    assert trips["UF1"]["threshold"] == 47.5
    assert trips["UF1"]["last_s"] == 0.1
    assert trips["OV1_10MIN"]["mean"]
    kinds = {(r["mode"], r["kind"]) for r in plane["voltage"]["regions"]}
    assert ("restricted", "cease") in kinds
    assert ("continuous_operation", "stay") in kinds


# ------------------------------------------------------------------------------------------------------------- faults
def test_a_fault_goes_to_the_rig_and_into_the_records(desk: Desk, rig: FakeRig) -> None:
    browser = desk.opened()
    names = [fault["name"] for fault in browser.get("/api/faults").json()["faults"]]
    assert names == ["sag", "kill_services"]
    answer = browser.post("/api/faults/inject", json={"fault": "sag", "values": {"residual": 0.3}})
    assert answer.status_code == 200
    assert rig.asked[-1] == {"fault": "sag", "values": {"residual": 0.3}}
    assert desk.notes() == ["anybody at 127.0.0.1: injects the fault sag: residual 0.3"]
    refused = browser.post("/api/faults/inject", json={"fault": "meteor"})
    assert refused.json() == {"ok": False, "error": "The rig refused: there is no such fault."}


@pytest.mark.parametrize("body", [{}, {"fault": 3}, {"fault": "sag", "values": []}, {"fault": "sag", "plant": {}}])
def test_only_faults_pass_to_the_rig(desk: Desk, rig: FakeRig, body: dict[str, Any]) -> None:
    assert desk.opened().post("/api/faults/inject", json=body).status_code == 400
    assert rig.asked == []


def test_a_real_board_has_no_panel_and_no_address_for_it_even_when_a_rig_is_there(real: Desk, rig: FakeRig) -> None:
    browser = real.opened()
    assert browser.get("/api/me").json()["faults"] is False
    assert browser.get("/api/faults").status_code == 404
    assert browser.post("/api/faults/inject", json={"fault": "sag"}).status_code == 404
    assert rig.asked == []


def test_without_a_rig_there_is_nothing_to_inject(desk: Desk) -> None:
    browser = desk.opened()
    assert browser.get("/api/me").json()["faults"] is False
    assert browser.get("/api/faults").json() == {"faults": []}
    answer = browser.post("/api/faults/inject", json={"fault": "sag"})
    assert answer.json() == {"ok": False, "error": "The rig does not answer."}


def test_only_the_services_of_this_charger_are_killed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    monkeypatch.setattr(desk.charger.charger, "hello", lambda: {"pid": os.getpid()})  # it is no firmware.services
    answer = desk.opened().post("/api/faults/inject", json={"fault": "kill_services"})
    assert answer.status_code == 409
    assert killed == []
