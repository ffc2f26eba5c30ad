"""What the car's side needs: the environment of `secc`, the modem's interface, certificates; EVerest's broker."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import boards
from boards import Board
from firmware.doctor.finding import Line, fail, ok, warn
from firmware.services.secc import missing

CONNECT_S = 2.0
_LINK_LOCAL, _TENTATIVE = "fe80", 0x40  # /proc/net/if_inet6: address, flags (linux/if_addr.h)


def check_secc(board: Board, if_inet6: Path = Path("/proc/net/if_inet6")) -> Iterator[Line]:
    """Nothing for a board whose SECC is on CAN."""
    if board.vehicle.driver != "iso15118":
        return
    problem = missing(board)
    if not problem:
        yield ok("SECC", "its own environment is there")
    elif Path(board.path).resolve() == boards.find("desk").resolve():
        yield warn("SECC", f"{problem} The board desk_can runs instead", "run `make setup` with a package index")
    else:
        yield fail("SECC", f"no car can be spoken to: {problem}", "run `make setup` with a package index")
    if board.emulated:
        return  # the rig makes its own interface and certificates
    yield _interface(str(board.vehicle.interface), if_inet6)
    if board.vehicle.pki is not None and not (Path(board.vehicle.pki) / "charger" / "chain.pem").is_file():
        yield fail(
            "certificates",
            f"{board.vehicle.pki} holds no certificate of the charger: no car is served",
            "put the charger's chain there, or remove [vehicle] pki; docs/secc.md names the files",
        )


def check_everest(board: Board) -> Iterator[Line]:
    """Whether EVerest's broker answers; nothing for a board that has no [everest]. Says nothing to the broker."""
    everest = board.everest
    if everest is None:
        return
    where = f"{everest.host}:{everest.port}"
    if find_spec("paho") is None:
        yield fail("EVerest", "paho-mqtt is not installed: no car is served", "pip install 'quadrant[mqtt]'")
        return
    try:
        socket.create_connection((everest.host, everest.port), CONNECT_S).close()
    except OSError as error:
        remedy = "start mosquitto, or EVerest's own broker; see [everest] host and port"
        yield fail("EVerest", f"no broker answers at {where} ({error.strerror or error}): no car is served", remedy)
    else:
        yield ok("EVerest", f"a broker answers at {where}")


def _interface(name: str, if_inet6: Path) -> Line:
    try:
        rows = [line.split() for line in if_inet6.read_text().splitlines()]
    except OSError:
        return fail("modem", "this machine has no IPv6, over which cars speak", "switch IPv6 on in the kernel")
    own = [row for row in rows if len(row) == 6 and row[5] == name and row[0].startswith(_LINK_LOCAL)]
    if not own:
        return fail(
            "modem",
            f"{name} has no link-local IPv6 address: no car can find the charger",
            f"connect the modem, then: ip link set {name} up",
        )
    if all(int(row[4], 16) & _TENTATIVE for row in own):
        return warn("modem", f"the address of {name} is still being tried", "look again in two seconds")
    return ok("modem", f"{name} has a link-local IPv6 address")
