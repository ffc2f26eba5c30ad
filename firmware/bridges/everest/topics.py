"""Topics of EVerest's external API, version 1, and the modules that a configuration of EVerest gave names to.

`everest_api/1/TYPE/MODULE/e2m/NAME` comes from EVerest, `.../m2e/NAME` goes to it (its AsyncAPI documents; tree of
2026-08-21). Nothing is retained and everything is JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

PSU, BSP, IMD, METER, MANAGER = (
    "power_supply_DC",
    "evse_board_support",
    "isolation_monitor",
    "powermeter",
    "evse_manager_consumer",
)
_ROOT = "everest_api/1"


@dataclass(frozen=True, slots=True)
class Modules:
    """What EVerest's configuration calls its API modules. manager: empty, and the car's own limits stay unknown."""

    power_supply: str
    board_support: str
    insulation: str
    power_meter: str
    manager: str = ""

    @property
    def names(self) -> dict[str, str]:
        """API type -> module. Only those that are there."""
        found = {
            PSU: self.power_supply,
            BSP: self.board_support,
            IMD: self.insulation,
            METER: self.power_meter,
            MANAGER: self.manager,
        }
        return {kind: module for kind, module in found.items() if module}

    def subscriptions(self) -> list[str]:
        return [f"{_ROOT}/{kind}/{module}/e2m/+" for kind, module in self.names.items()]

    def said(self, topic: str) -> tuple[str, str] | None:
        """API type and name of what EVerest said under `topic`; None: nothing of ours."""
        for kind, module in self.names.items():
            start = f"{_ROOT}/{kind}/{module}/e2m/"
            if topic.startswith(start):
                name = topic[len(start) :]
                return (kind, name) if name and "/" not in name else None
        return None

    def to_everest(self, kind: str, name: str) -> str:
        return f"{_ROOT}/{kind}/{self.names[kind]}/m2e/{name}"

    def from_everest(self, kind: str, name: str) -> str:
        """What EVerest itself publishes under; for an emulated one."""
        return f"{_ROOT}/{kind}/{self.names[kind]}/e2m/{name}"
