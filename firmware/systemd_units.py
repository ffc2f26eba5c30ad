"""The files that make a charger a service of its machine: a systemd unit, and a .network file for each CAN interface.

Made from the board, so that bit rates and names cannot drift from it. docs/systemd.md explains them.
"""

from __future__ import annotations

import re
from pathlib import Path

from boards import Board
from firmware.supervisor import DOWN_TIMEOUT_S, ENDING_GRACE_S, RIG_READY_S

WATCHDOG_S = 10  # the supervisor's loop turns ten times a second; policy value
RESTART_S = 5
NETWORK_DIR = "/etc/systemd/network"
SYSTEM_DIR = "/etc/systemd/system"
USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def units(board: Board, command: str, user: str) -> dict[str, str]:
    """Path -> content. command: the `quadrant` program, an absolute path. user: the service's account.

    Raises ValueError for an account that systemd would not take.
    """
    if not USER.fullmatch(user):
        raise ValueError(f"user {user!r} must be 1 to 31 lower-case letters, digits, _ and -")
    files = {f"{SYSTEM_DIR}/quadrant.service": _service(board, command, user)}
    for bus in board.bus.values():
        if bus.interface == "socketcan":
            files[f"{NETWORK_DIR}/80-{bus.channel}.network"] = _network(bus.channel, bus.bitrate)
    return files


def _service(board: Board, command: str, user: str) -> str:
    stop_s = int(DOWN_TIMEOUT_S + 4 * ENDING_GRACE_S + 7)
    named = board.path if Path(board.path).is_absolute() and Path(board.path).stem != board.name else board.name
    return f"""# Quadrant on board {board.name}. Made by `quadrant systemd`; docs/systemd.md explains each line.
[Unit]
Description=Quadrant, charger {board.name}
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.service.html
After=network.target systemd-networkd.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
SupplementaryGroups=dialout
StateDirectory=quadrant
StateDirectoryMode=0700
ExecStart={command} run --headless --board {named} --dir /var/lib/quadrant
WatchdogSec={WATCHDOG_S}
TimeoutStartSec={int(RIG_READY_S) + 60}
TimeoutStopSec={stop_s}
KillMode=mixed
Restart=always
Environment=QUADRANT_RESTARTS=1
RestartSec={RESTART_S}
OOMScoreAdjust=-900
LimitRTPRIO=99
LimitMEMLOCK=infinity
AmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK
CapabilityBoundingSet=CAP_SYS_NICE CAP_IPC_LOCK
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_CAN AF_NETLINK
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def _network(interface: str, bitrate: int) -> str:
    return f"""# The charger's CAN bus {interface}. Made by `quadrant systemd`.
[Match]
Name={interface}

[CAN]
BitRate={bitrate}
RestartSec=100ms
"""
