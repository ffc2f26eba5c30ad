"""CAN interfaces, multicast and serial ports: could the charger reach its devices? Opens none of them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from firmware.doctor.finding import Line, fail, ok, warn


def check_kernel_can() -> Line:
    """Whether the kernel knows AF_CAN at all."""
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return fail("kernel CAN", "opening a CAN socket is not permitted", "allow AF_CAN in the sandbox or unit")
        return fail(
            "kernel CAN",
            f"this kernel has no SocketCAN ({error.strerror})",
            "modprobe can_raw; else use a kernel with CONFIG_CAN, or an slcan adapter",
        )
    return ok("kernel CAN", "AF_CAN sockets can be opened")


def check_can_interface(channel: str, bitrate: int, sysfs: Path = Path("/sys/class/net")) -> Iterator[Line]:
    """Whether a SocketCAN interface is there, is up, and runs at the bit rate that the board says."""
    check = f"CAN {channel}"
    up = f"sudo ip link set {channel} up type can bitrate {bitrate} restart-ms 100"
    device = sysfs / channel
    if not device.exists():
        yield fail(check, f"there is no network interface {channel}", "check the controller's driver and device tree")
        return
    try:
        kind = (device / "type").read_text().strip()
        flags = int((device / "flags").read_text().strip(), 16)
    except (OSError, ValueError) as error:
        yield fail(check, f"{channel} cannot be read: {error}", "look at `ip -details link show`")
        return
    if kind != "280":  # ARPHRD_CAN, include/uapi/linux/if_arp.h
        yield fail(check, f"{channel} is not a CAN interface", "correct `channel` in the board file")
        return
    if not flags & 0x1:  # IFF_UP
        yield fail(check, f"{channel} is down", up)
        return
    yield ok(check, f"{channel} is up")
    yield check_can_bitrate(channel, bitrate, can_details(channel))


def can_details(channel: str) -> str | None:
    """What `ip -details` says of a CAN interface; None when the tool is not there or fails."""
    tool = shutil.which("ip") or "/sbin/ip"
    try:
        return subprocess.run(
            [tool, "-details", "link", "show", channel], capture_output=True, text=True, timeout=5, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def check_can_bitrate(channel: str, bitrate: int, details: str | None) -> Line:
    """Reads bit rate, bus state and automatic restart from the output of `ip -details link show`."""
    check = f"CAN {channel} bit rate"
    up = f"sudo ip link set {channel} down; sudo ip link set {channel} up type can bitrate {bitrate} restart-ms 100"
    if details is None:
        return warn(check, "the bit rate could not be read", "install iproute2, then run this again")
    if "vcan" in details:
        return ok(check, f"{channel} is virtual and has no bit rate")
    found = re.search(r"\bbitrate (\d+)", details)
    if found is None:
        return warn(check, "the interface does not say its bit rate", f"look at `ip -details link show {channel}`")
    if int(found[1]) != bitrate:
        return fail(check, f"{channel} runs at {found[1]} bit/s, the board says {bitrate}", up)
    if "BUS-OFF" in details or "ERROR-PASSIVE" in details:
        return fail(
            check, f"{channel} is in an error state", "check termination (120 ohm at both ends), wiring and bit rate"
        )
    if not re.search(r"restart-ms [1-9]", details):
        return warn(check, f"{bitrate} bit/s, but {channel} stays off after a bus-off", up)
    return ok(check, f"{bitrate} bit/s, restarts after a bus-off")


def check_multicast(group: str = "239.74.163.254", wait_s: float = 1.0) -> Line:
    """Sends one datagram to an IPv4 group with hop limit 0, as the emulated CAN buses do, and listens for it."""
    check = "udp multicast"
    remedy = "allow IPv4 multicast on this machine: `sudo ip route add 239.0.0.0/8 dev lo`, and look at the firewall"
    token = os.urandom(16)
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind((group, 0))
            membership = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # never leaves this machine
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.sendto(token, receiver.getsockname())
            deadline = time.monotonic() + wait_s
            while (left := deadline - time.monotonic()) > 0:
                receiver.settimeout(left)
                if receiver.recv(64) == token:
                    return ok(check, "a datagram to a local group with hop limit 0 comes back")
    except TimeoutError:
        pass
    except OSError as error:
        return fail(check, f"multicast does not work here ({error.strerror})", remedy)
    return fail(check, "a multicast datagram did not come back", remedy)


def check_serial(port: str, user: str) -> Line:
    """Whether a serial port exists, is a terminal device, and may be read and written. Does not open it."""
    check = f"serial {port}"
    try:
        mode = os.stat(port).st_mode
    except OSError as error:
        return fail(check, f"{user}: {error.strerror}", "check the device tree or the USB adapter, and the board file")
    if not stat.S_ISCHR(mode):
        return fail(check, f"{user}: this is not a serial device", "correct `port` in the board file")
    if not os.access(port, os.R_OK | os.W_OK):
        return fail(check, f"{user}: not permitted", "sudo usermod -aG dialout $USER, then log in again")
    return ok(check, f"{user}: there and permitted")
