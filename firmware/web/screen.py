"""The screen's server: pages and events down, commands up. docs/service-screen.md is its manual.

It is one more client of the control socket. It decides nothing, and when it dies nothing else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import boards
from firmware.control_client import ControlError, Refused
from firmware.quantities import show_duration, show_power
from firmware.recorder.schema import RecorderError
from firmware.web import rig
from firmware.web.access import ROLES, Role
from firmware.web.feed import COLUMNS, Feed, ask
from firmware.web.gate import Caller, Denied, Gate, SecurityHeaders, body_of, own_origin
from firmware.web.parameters import Parameters
from firmware.web.plane import plane_of
from firmware.web.records import Records
from firmware.web.scrape import Scrape

STATIC = Path(__file__).parent / "static"
MAX_STREAMS = 16  # of events; one for each open page
MAX_NOTE_CHARS = 1000  # as the control socket takes them
SOURCE = "screen"  # who asks for power


def reply(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def number_in(body: dict[str, Any], name: str) -> float:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise Denied(400, f"{name} must be a number.")
    return float(value)


def whole_in(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and low <= int(text[:9]) <= high):
        raise Denied(400, f"{name} must be a whole number from {low} to {high}.")
    return int(text)


class Screen:
    """Everything behind the routes. `app` is the ASGI application."""

    def __init__(
        self,
        board: boards.Board,
        run_dir: Path,
        gate: Gate,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Raises GridCodeError when the board's grid code cannot be loaded."""
        self._board, self._run_dir, self.gate = board, run_dir, gate
        self._clock, self._wall = clock, wall
        self.feed = Feed(run_dir, clock)
        self.parameters = Parameters(board)
        self.records = Records(run_dir, wall)
        get, post = self._get, self._post
        routes = [
            Route("/", self._page),
            Route("/metrics", Scrape(run_dir, gate, clock).answer),
            Route("/api/me", self._me),
            Route("/api/login", self._login, methods=["POST"]),
            Route("/api/logout", self._logout, methods=["POST"]),
            Route("/api/stream", self._stream),
            Route("/api/scope", get(self._scope)),
            Route("/api/scope.csv", self._scope_csv),
            Route("/api/plane", get(self._plane)),
            Route("/api/plan", get(self.records.plan)),
            Route("/api/events", get(self._events)),
            Route("/api/sessions", get(self.records.sessions)),
            Route("/api/records", get(self.records.records)),
            Route("/api/records/{number:int}", get(self.records.record)),
            Route("/api/parameters", get(self._parameters)),
            Route("/api/power", post(Role.OPERATOR, self._power), methods=["POST"]),
            Route("/api/stop", post(Role.OPERATOR, self._stop), methods=["POST"]),
            Route("/api/start", post(Role.OPERATOR, self._start), methods=["POST"]),
            Route("/api/clear", post(Role.SERVICE, self._clear), methods=["POST"]),
            Route("/api/parameters/check", post(Role.SERVICE, self._check), methods=["POST"]),
            Route("/api/parameters/apply", post(Role.SERVICE, self._apply), methods=["POST"]),
            Route("/api/parameters/confirm", post(Role.SERVICE, self._confirm), methods=["POST"]),
            Route("/api/parameters/revert", post(Role.SERVICE, self._revert), methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        if board.emulated:  # a real board has no such address
            routes += [
                Route("/api/faults", get(self._faults)),
                Route("/api/faults/inject", post(Role.SERVICE, self._inject), methods=["POST"]),
            ]
        self.app = Starlette(routes=routes, middleware=[Middleware(SecurityHeaders)], lifespan=self._life)

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(self.feed.run())
        try:
            yield
        finally:
            watch.cancel()
            self.feed.close()
            self.records.close()

    # ------------------------------------------------------------------------------------------------------ wrappers
    def _get(self, view: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self.gate.caller(request).must(Role.VIEWER)
                return reply(await view(request))
            except Exception as error:  # `failed` raises again what it does not know
                return failed(error)

        return answer

    def _post(
        self, role: Role, act: Callable[[Caller, dict[str, Any]], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                caller, body = await self.gate.command(request, role)
                return reply({"ok": True, **(await act(caller, body) or {})})
            except Exception as error:  # `failed` raises again what it does not know
                return failed(error)

        return answer

    async def _note(self, caller: Caller, text: str) -> None:
        """Into the records, before it is done: what cannot be written down is not done. Raises ControlError."""
        await ask(
            self._run_dir,
            "note",
            who=caller.who,
            text="".join(c if c.isprintable() else " " for c in text)[:MAX_NOTE_CHARS],
        )

    async def _ask(self, caller: Caller, what: str, command: str, **fields: Any) -> dict[str, Any]:
        await self._note(caller, what)
        try:
            return await ask(self._run_dir, command, **fields)
        except Refused as refusal:
            await self._note(caller, f"{what}: refused, {refusal}")
            raise

    # --------------------------------------------------------------------------------------------------------- pages
    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _me(self, request: Request) -> Response:
        try:
            caller = self.gate.caller(request)
        except Denied as denied:
            return failed(denied)
        about: dict[str, Any] = {
            "role": None,
            "problem": self.gate.problem,
            "roles": [r.name.lower() for r in self.gate.passwords],
        }
        if caller.role is not None:
            ratings = self._board.ratings
            about |= {
                "role": caller.role.name.lower(),
                "token": caller.token,
                "login": self.gate.has_password,
                "board": self._board.name,
                "title": self._board.title,
                "emulated": self._board.emulated,
                "faults": self._board.emulated and rig.there(self._run_dir),
                "charge_w": ratings.charge_w,
                "discharge_w": ratings.discharge_w,
                "nominal_v": self._board.grid.nominal_v,
                "wall_offset_s": self._wall() - self._clock(),  # wall time of a monotonic time of the charger
            }
        return reply(about)

    async def _login(self, request: Request) -> Response:
        try:
            own_origin(request)
            body = await body_of(request)
            role, password = ROLES.get(str(body.get("role"))), body.get("password")
            wait_s = self.gate.patience.wait_s(self._clock())
            if wait_s > 0.0:
                raise Denied(429, f"Too many wrong passwords; try again in {wait_s:.0f} s.")
            kept = self.gate.passwords.get(role) if role is not None else None
            if kept is None or role is None or not isinstance(password, str) or len(password) > 1000:
                raise Denied(403, "There is no password for this role; `quadrant web password ROLE` sets one.")
            # Reserved before the hash is computed: many tries at once do not share one permission.
            self.gate.patience.wrong(self._clock())
            address = request.client.host if request.client is not None else "?"
            if not await asyncio.to_thread(kept.fits, password):
                with contextlib.suppress(ControlError):
                    await ask(
                        self._run_dir,
                        "note",
                        who=f"somebody at {address}",
                        text=f"wrong password for {role.name.lower()}",
                    )
                raise Denied(403, "That is not the password.")
            self.gate.patience.right()
            with contextlib.suppress(ControlError):  # seeing must be possible while the charger is down
                await ask(self._run_dir, "note", who=f"{role.name.lower()} at {address}", text="logged in")
        except Exception as error:  # as above
            return failed(error)
        response = reply({"ok": True})
        secret = self.gate.sessions.begin(role, self._clock())
        response.set_cookie(self.gate.cookie, secret, httponly=True, samesite="strict", path="/")
        return response

    async def _logout(self, request: Request) -> Response:
        try:
            await self.gate.command(request, Role.VIEWER)
        except Exception as error:  # as above
            return failed(error)
        self.gate.sessions.end(request.cookies.get(self.gate.cookie))
        response = reply({"ok": True})
        response.delete_cookie(self.gate.cookie, path="/")
        return response

    # ----------------------------------------------------------------------------------------------------------- down
    async def _stream(self, request: Request) -> Response:
        try:
            self.gate.caller(request).must(Role.VIEWER)
            if self.feed.listeners >= MAX_STREAMS:
                raise Denied(503, f"At most {MAX_STREAMS} pages are served at a time; close one.")
        except Denied as denied:
            return failed(denied)

        async def chunks() -> AsyncIterator[bytes]:
            with self.feed.listen() as listener:
                async for chunk in listener.chunks():
                    if not self._still_there(request):
                        yield b"event: ended\ndata: {}\n\n"
                        return
                    yield chunk

        return StreamingResponse(chunks(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    def _still_there(self, request: Request) -> bool:
        """A stream outlives many things: the session, the passwords, and the rules of who is answered at all."""
        try:
            return self.gate.caller(request, use=False).role is not None
        except Denied:
            return False

    async def _scope(self, request: Request) -> Any:
        rows = list(self.feed.history.rows())
        return {"columns": COLUMNS, "data": list(zip(*rows, strict=True)) if rows else [[] for _ in COLUMNS]}

    async def _scope_csv(self, request: Request) -> Response:
        try:
            self.gate.caller(request).must(Role.VIEWER)
            ends = [float(request.query_params.get(*pair)) for pair in (("from", "-inf"), ("to", "inf"))]
        except ValueError:
            return failed(Denied(400, "from and to are seconds."))
        except Denied as denied:
            return failed(denied)
        offset_s = self._wall() - self._clock()
        lines = ["wall_s," + ",".join(COLUMNS)]
        for row in self.feed.history.rows(*ends):
            values = ("" if math.isnan(v) else f"{v:.6g}" for v in row[1:])
            lines.append(",".join((f"{row[0] + offset_s:.3f}", f"{row[0]:.3f}", *values)))
        name = time.strftime("quadrant-scope-%Y%m%d-%H%M%S.csv", time.localtime(self._wall()))
        return Response(
            "\n".join(lines) + "\n",
            media_type="text/csv",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    async def _plane(self, request: Request) -> Any:
        effective, _ = self.parameters.in_force(await ask(self._run_dir, "controls"))
        return plane_of(effective.code, dict(effective.sources))

    async def _events(self, request: Request) -> Any:
        answer = await ask(self._run_dir, "events", limit=whole_in(request, "limit", 200, 1, 5000))
        return {"events": answer["events"]}

    # ------------------------------------------------------------------------------------------------------------- up
    async def _power(self, caller: Caller, body: dict[str, Any]) -> Any:
        power_w, for_s, reason = number_in(body, "power_w"), number_in(body, "for_s"), body.get("reason", "")
        if not isinstance(reason, str) or len(reason) > 120 or not (reason.isprintable() or not reason):
            raise Denied(400, "reason must be at most 120 printable characters.")
        what = f"asks for {show_power(power_w)} for {show_duration(for_s)}" + (f" ({reason})" if reason else "")
        answer = await self._ask(
            caller, what, "power", power_w=power_w, for_s=for_s, reason=reason, source=f"{SOURCE}: {caller.who}"[:40]
        )
        return {"request": answer.get("request")}

    async def _stop(self, caller: Caller, body: dict[str, Any]) -> None:
        await ask(self._run_dir, "stop")  # first: a stop waits for no record
        await self._note(caller, "stop")

    async def _start(self, caller: Caller, body: dict[str, Any]) -> None:
        await self._ask(caller, "start", "start")

    async def _clear(self, caller: Caller, body: dict[str, Any]) -> None:
        await self._ask(caller, "acknowledges latched faults", "clear")

    # ----------------------------------------------------------------------------------------------------- parameters
    async def _parameters(self, request: Request) -> Any:
        return self.parameters.shown(await ask(self._run_dir, "controls"))

    async def _check(self, caller: Caller, body: dict[str, Any]) -> Any:
        return {"changes": self.parameters.changes(await ask(self._run_dir, "controls"), body, self._wall())}

    async def _apply(self, caller: Caller, body: dict[str, Any]) -> Any:
        plan = self.parameters.plan(await ask(self._run_dir, "controls"), body, self._wall())
        answer = await self._ask(
            caller, f"changes {plan.sentence}", "controls_set",
            controls=plan.controls, replace=plan.replaces, confirm_s=plan.confirm_s, source=SOURCE,
        )  # fmt: skip
        return {"trial": answer.get("trial")}

    async def _confirm(self, caller: Caller, body: dict[str, Any]) -> None:
        await self._ask(caller, "confirms the change of parameters", "controls_confirm")

    async def _revert(self, caller: Caller, body: dict[str, Any]) -> None:
        await self._ask(caller, "takes the change of parameters back", "controls_revert")

    # --------------------------------------------------------------------------------------------------------- faults
    async def _faults(self, request: Request) -> Any:
        if not rig.there(self._run_dir):
            return {"faults": []}
        return {"faults": [*(await rig.ask(self._run_dir, {"faults": "list"}))["faults"], KILL_SERVICES]}

    async def _inject(self, caller: Caller, body: dict[str, Any]) -> None:
        name, values = body.get("fault"), body.get("values", {})
        if not isinstance(name, str) or not isinstance(values, dict) or set(body) - {"fault", "values"}:
            raise Denied(400, "fault must be a name, and values an object.")
        shown = ", ".join(f"{key} {value}" for key, value in values.items())
        await self._note(caller, f"injects the fault {name}" + (f": {shown}" if shown else ""))
        if name == KILL_SERVICES["name"]:
            await self._kill_services()
            return
        await rig.ask(self._run_dir, {"fault": name, "values": values})

    async def _kill_services(self) -> None:
        pid = (await ask(self._run_dir, "hello"))["pid"]
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"firmware.services" not in words or str(self._run_dir).encode() not in words:
            raise Denied(409, "The services process is not where it says.")
        os.kill(pid, signal.SIGKILL)


KILL_SERVICES: dict[str, Any] = {
    "name": "kill_services",
    "title": "Kill services",
    "group": "Machine",
    "text": "The process that holds the lease dies (SIGKILL). Guard goes on, the lease runs out, the power ramps down.",
    "mends": False,
    "params": [],
}


def failed(error: Exception) -> Response:
    """The answer to a request that could not be obeyed: one sentence and its status."""
    match error:
        case Denied(status=status):
            return reply({"ok": False, "error": str(error)}, status)
        case Refused() | rig.RigRefused():
            return reply({"ok": False, "error": str(error)}, 409)
        case ControlError() | RecorderError():
            return reply({"ok": False, "error": str(error)}, 503)
        case _:
            raise error
