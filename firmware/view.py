"""The live terminal view: one screen that says what the charger does and why. Fits 80 x 24.

Rendering is a pure function of the last snapshot (the JSON form of firmware.guard.messages.Snapshot) and the latest
events. Nothing here decides or commands; what is unknown is shown as a dash, never as zero.

Colours: green = good or charging, cyan = discharging, yellow = waiting or limited, red = fault, dim = off or unknown.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from firmware.guard.events import EVENTS, Severity
from firmware.lines import element_text, event_clock, event_text, limiter
from firmware.quantities import show_duration, show_power

REFRESH_S = 0.25  # 4 Hz: faster only flickers
DASH = "–"
_GRID_STYLE = {
    "connected": "green",
    "waiting to enter service": "yellow",
    "riding through": "bold yellow",
    "ceased": "bold yellow",
    "tripped": "bold red",
}
_SEVERITY_STYLE = {
    Severity.INFO: "dim",
    Severity.WARNING: "yellow",
    Severity.NO_ENTRY: "yellow",
    Severity.SOFT_STOP: "red",
    Severity.TRIP: "bold red",
    Severity.LATCH: "bold white on red",
}


@dataclass
class ViewModel:
    """What the screen is drawn from."""

    board: str = ""
    screen: str = ""  # address of the service screen
    snapshot: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)  # what services themselves miss, such as a silent guard
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50))

    def feed(self, message: dict[str, Any]) -> None:
        """Take one message of `watch`."""
        if "snapshot" in message:
            self.snapshot = message["snapshot"]
            self.problems = message.get("problems", [])
        if "event" in message:
            self.events.append(message["event"])


# ------------------------------------------------------------------------------------------------------------- pieces
def number(value: object, decimals: int, unit: str = "") -> str:
    """A measured value with its unit, or a dash when there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return f"{text} {unit}" if unit else text


def known(value: object) -> float:
    """A number to calculate positions and orders with: 0.0 for what is unknown (nan travels as null)."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def ohms(value: object) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    return f"{value / 1e6:.1f} MΩ" if value >= 1e6 else f"{value / 1e3:.0f} kΩ"


def state_style(snapshot: dict[str, Any]) -> str:
    if snapshot["faults"] or "fault" in snapshot["state"]:
        return "bold white on red"
    measured = snapshot["measured_w"]
    if "transfer" in snapshot["state"] or "charging" in snapshot["state"]:
        return "bold color(16) on cyan" if measured is not None and measured < 0.0 else "bold color(16) on green"
    return "bold color(16) on white"


def _element_text(element: dict[str, Any]) -> Text:
    return Text(element_text(element), "bold yellow" if known(element["timer_s"]) > 0.0 else "")


def power_bar(asked_w: float, permitted_w: float, measured_w: float | None, span_w: float, width: int) -> Text:
    """Zero in the middle, discharge to the left, charge to the right. ◆ asked, ┃ permitted, █ measured."""
    half = max(4, (width - 1) // 2)

    def cell(watts: float) -> int:
        return half + max(-half, min(half, round(watts / span_w * half)))

    cells = [("─", "dim")] * (2 * half + 1)
    cells[half] = ("┼", "dim")
    if measured_w is not None and math.isfinite(measured_w):
        style = "green" if measured_w >= 0.0 else "cyan"
        end = cell(measured_w)
        for i in range(min(half, end), max(half, end) + 1):
            if i != half:
                cells[i] = ("█", style)
    cells[cell(permitted_w)] = ("┃", "bold white")
    cells[cell(asked_w)] = ("◆", "bold yellow")
    return Text.assemble(*cells)


def span_w(snapshot: dict[str, Any]) -> float:
    """Full scale of the bar: the widest finite limit that is known, and never less than what is shown."""
    values = [abs(known(snapshot[f"{name}_w"])) for name in ("asked", "permitted", "measured")]
    for limit in snapshot["limits"]:
        values += [known(limit["charge_w"]), known(limit["discharge_w"])]
    return max(1000.0, *values)


def _rows(*rows: tuple[str, RenderableType]) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for label, value in rows:
        table.add_row(label, value)
    return table


def _panel(content: RenderableType, title: str, style: str = "dim") -> Panel:
    return Panel(content, title=f"[bold]{title}[/]", title_align="left", border_style=style, padding=(0, 1))


def _flag(name: str, on: bool, style: str = "green") -> tuple[str, str]:
    return (f"{'●' if on else '○'} {name}  ", style if on else "dim")


# ------------------------------------------------------------------------------------------------------------- panels
def _header(model: ViewModel, snapshot: dict[str, Any], clock: str) -> Table:
    line = Text.assemble((f" {snapshot['state']} ", state_style(snapshot)), "  grid ")
    line.append(snapshot["grid_state"], _GRID_STYLE.get(snapshot["grid_state"], "white"))
    if snapshot["estop"]:
        line.append("  EMERGENCY STOP", "bold white on red")
    table = Table.grid(expand=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_row(line, Text(f"Quadrant {model.board}  {clock}", "dim"))
    return table


def _why(model: ViewModel, snapshot: dict[str, Any]) -> Panel:
    bad = bool(snapshot["faults"]) or snapshot["grid_state"] == "tripped"
    style = "red" if bad else _GRID_STYLE.get(snapshot["grid_state"], "white").removeprefix("bold ")
    body = Text(snapshot["why"], "bold")
    if model.problems:  # on top: what is shown below may be old
        body = Text.assemble((" ".join(model.problems), "bold red"), "\n", body)
        style = "red"
    return Panel(body, title="[bold]why[/]", title_align="left", border_style=style)


def _grid(snapshot: dict[str, Any], rows: int) -> Panel:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(style="dim")
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(name, "dim") for name in ("L1 V", "L2 V", "L3 V", "Hz")))
    for name, prefix in (("pilot", "grid"), ("conv.", "converter_grid")):
        volts = snapshot[f"{prefix}_v"] or [None, None, None]
        table.add_row(name, *(number(v, 1) for v in volts), number(snapshot[f"{prefix}_f_hz"], 3))
    trip = snapshot["trip"]
    wait = known(snapshot["enter_service_remaining_s"])
    if wait > 0.0:
        last: tuple[str, RenderableType] = ("enters in", Text(show_duration(wait), "yellow"))
    elif trip:
        last = ("last trip", Text(f"{trip['element']} {trip['phase']} {number(trip['value'], 3, trip['unit'])}", "red"))
    else:
        last = ("reason", Text(snapshot["grid_reason"] or DASH))
    body = Table.grid(expand=True)
    body.add_row(table)
    # In service the grid's own clause is the name of the code: that of the closest element says more.
    quiet = snapshot["grid_state"] == "connected" and snapshot["elements"]
    clause = snapshot["elements"][0]["clause"] if quiet else snapshot["grid_clause"]
    nearest = [_element_text(element) for element in snapshot["elements"]] or [Text(DASH, "dim")]
    body.add_row(
        _rows(
            ("closest", nearest[0]),
            *(("", text) for text in nearest[1 : max(1, rows - 7)]),  # more of them where the terminal is tall enough
            last,
            ("clause", Text(clause or DASH)),
        )
    )
    return _panel(body, "grid", _GRID_STYLE.get(snapshot["grid_state"], "dim").removeprefix("bold "))


def _power(snapshot: dict[str, Any], width: int, rows: int) -> Panel:
    lease = known(snapshot["lease_s"])
    lease_text = f"{lease:.1f} s  {snapshot['asked_reason']}" if lease > 0.0 else "none"
    limited_by = limiter(snapshot)
    table = _rows(
        ("◆ asked", Text(f"{show_power(snapshot['asked_w'])}  {snapshot['asked_by']}", "yellow")),
        ("┃ permitted", Text(show_power(snapshot["permitted_w"]), "bold white")),
        ("█ measured", Text(show_power(snapshot["measured_w"]))),
        ("limited by", Text(limited_by or "nothing", "yellow" if limited_by else "dim")),
        ("lease left", Text(lease_text, "" if lease > 0.5 else "yellow")),
    )
    body = Table.grid(expand=True)
    body.add_row(table)
    asked_w, permitted_w = known(snapshot["asked_w"]), known(snapshot["permitted_w"])
    body.add_row(power_bar(asked_w, permitted_w, snapshot["measured_w"], span_w(snapshot), width - 4))
    for limit in snapshot["limits"][: max(0, rows - 8)]:  # the stack, where the terminal is tall enough
        binding = limited_by.startswith(f"{limit['source']}:")
        discharge_w = None if limit["discharge_w"] is None else -limit["discharge_w"]
        text = f"{limit['source']}: {show_power(limit['charge_w'])} / {show_power(discharge_w)}"
        body.add_row(Text(f"{text}  {limit['reason']}", "yellow" if binding else "dim", no_wrap=True))
    return _panel(body, "power")


def _converter(snapshot: dict[str, Any]) -> Panel:
    flags = Text.assemble(
        _flag("online", snapshot["converter_online"]),
        _flag("ready", snapshot["converter_ready"]),
    )
    on = Text.assemble(_flag("on", snapshot["converter_on"]), snapshot["converter_direction"] or DASH)
    body = Table.grid(expand=True)
    body.add_row(flags)
    body.add_row(on)
    body.add_row(f"AC {show_power(snapshot['p_ac_w'])}  {number(snapshot['converter_temp_c'], 0, '°C')}")
    body.add_row(Text(f"bus {known(snapshot['bus_load']) * 100.0:.0f} %", "dim"))
    return _panel(body, "converter")


def _dc(snapshot: dict[str, Any]) -> Panel:
    soc = snapshot["soc_pct"]
    rows = _rows(
        ("DC", f"{number(snapshot['v_dc_v'], 1, 'V')}  {number(snapshot['i_dc_a'], 1, 'A')}"),
        ("set", number(snapshot["i_set_a"], 1, "A")),
        ("car", f"{snapshot['car_phase']}, pilot {snapshot['cp']}"),
        ("SoC", number(soc, 1, "%")),
    )
    return _panel(rows, "DC and car")


def _safety(snapshot: dict[str, Any]) -> Panel:
    body = Table.grid(expand=True)
    body.add_row(
        Text.assemble(_flag("grid", snapshot["contactor_grid"]), _flag("precharge", snapshot["contactor_precharge"]))
    )
    body.add_row(Text.assemble(_flag("DC contactors", snapshot["contactor_dc"])))
    body.add_row(f"insulation {ohms(snapshot['insulation_ohm'])}")
    body.add_row(
        Text(f"+{known(snapshot['charged_wh']) / 1e3:.3f} -{known(snapshot['discharged_wh']) / 1e3:.3f} kWh", "dim")
    )
    return _panel(body, "contactors")


def _events(model: ViewModel, rows: int) -> RenderableType:
    body = Table.grid(expand=True, padding=(0, 1))
    body.add_column(style="dim", no_wrap=True)
    body.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    body.add_row("events", Text(f"service screen: {model.screen}" if model.screen else "", "dim"))
    for event in list(model.events)[-max(1, rows - 1) :]:
        entry = EVENTS.get(event["code"])
        style = _SEVERITY_STYLE[entry.severity] if entry and not event.get("cleared") else "dim"
        body.add_row(event_clock(event), Text(event_text(event), style))
    return body


def _footer(snapshot: dict[str, Any]) -> Text:
    late = snapshot["missed"] > 0
    text = Text.assemble(
        (f"late p99 {number(snapshot['late_p99_us'], 0)} µs, max {number(snapshot['late_max_us'], 0)} µs, ", "dim"),
        (f"missed {snapshot['missed']}", "yellow" if late else "dim"),
        (f"  {snapshot['realtime']}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
    if snapshot["dropped"]:
        text.append(f"  {snapshot['dropped']} messages dropped", "yellow")
    return text


def render(model: ViewModel, width: int, height: int, clock: str = "") -> RenderableType:
    """The whole screen for a terminal of `width` x `height` characters."""
    snapshot = model.snapshot
    if snapshot is None:
        return Panel(Text("The charger starts; no measurement yet.", "bold"), title="why", title_align="left")
    extra = max(0, height - 24)
    middle = 8 + min(extra // 2, max(len(snapshot["limits"]), len(snapshot["elements"]) - 1, 0))
    layout = Layout()
    layout.split_column(
        Layout(_header(model, snapshot, clock), name="header", size=1),
        Layout(_why(model, snapshot), name="why", size=4),
        Layout(name="middle", size=middle),
        Layout(name="lower", size=6),
        Layout(name="events", ratio=1),
        Layout(_footer(snapshot), name="footer", size=1),
    )
    layout["events"].update(_events(model, height - 12 - middle))
    half = width // 2
    layout["middle"].split_row(
        Layout(_grid(snapshot, middle), size=half), Layout(_power(snapshot, width - half, middle), ratio=1)
    )
    layout["lower"].split_row(Layout(_converter(snapshot)), Layout(_dc(snapshot)), Layout(_safety(snapshot)))
    return layout


def show_live(messages: Iterable[dict[str, Any]], board: str, console: Console, screen: str = "") -> None:
    """Draw until `messages` end. The terminal is given back whatever happens. screen: address of the service screen."""
    model = ViewModel(board, screen)
    drawn = -REFRESH_S
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        for message in messages:
            model.feed(message)
            now = time.monotonic()
            if now - drawn >= REFRESH_S:
                size = console.size
                live.update(render(model, size.width, size.height, time.strftime("%H:%M:%S")), refresh=True)
                drawn = now
