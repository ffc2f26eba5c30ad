"""Boot User-Mode Linux, run one job in it, and come back with its exit code: about 3 s for an empty job.

It is a Linux kernel as an ordinary process of this machine (Debian package user-mode-linux), with the machine's own
file system read-only below a RAM disk, so the virtual environment is used as it is. It needs no root and no /dev/kvm,
only ptrace. See docs/socketcan-uml.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {
    "linux.uml": "user-mode-linux",
    "candump": "can-utils",
    "insmod": "kmod",
    "ip": "iproute2",
    "taskset": "util-linux",
}
MODULES = Path("/usr/lib/uml/modules")
INIT = Path(__file__).with_name("init.sh")
SEARCH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
MEMORY_MB = 256


@dataclass(frozen=True, slots=True)
class Ended:
    exit: int | None  # of the job; None: the guest never came so far
    console: str  # what the kernel and the init script said
    log: str  # what the job said


def missing() -> str | None:
    """None when everything is there, else the sentence with the command that installs it."""
    packages = sorted({package for command, package in PACKAGES.items() if not shutil.which(command, path=SEARCH)})
    if not packages and _modules() is None:
        packages = ["user-mode-linux"]
    if not packages:
        return None
    return f"real SocketCAN was NOT tested: run `sudo apt-get install {' '.join(packages)}` and repeat"


def run(job: str, out: Path, *, limit_s: float = 120.0) -> Ended:
    """Run the shell text `job` as root of a guest that has vcan0 up. `out` is /run/out inside and stays.

    Raises subprocess.TimeoutExpired when the guest does not power off within limit_s (the guest is killed).
    """
    modules = _modules()
    assert modules is not None, missing()
    for path in (out, INIT, modules):
        if any(c.isspace() or c == "'" for c in str(path)):
            raise ValueError(f"{path}: a kernel command line cannot carry blanks or quotes; use another directory")
    script = out / "job.sh"
    script.write_text(job)
    command = [
        "taskset", "--cpu-list", str(max(os.sched_getaffinity(0))),  # unpinned it is four times slower
        "linux.uml", f"mem={MEMORY_MB}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}",
        "con=null", "con0=null,fd:1", "quiet", "panic=1",
        f"uml_out={out}", f"uml_mods={modules}", f"uml_job={script}",
    ]  # fmt: skip
    # A session of its own: a guest is several processes, and a time-out must end all of them.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": SEARCH, "HOME": str(out), "TMPDIR": _memory_dir()},
        start_new_session=True,
    )
    try:
        console = process.communicate(timeout=limit_s)[0].decode(errors="replace")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.communicate()
    code, log = out / "exit", out / "job.log"
    return Ended(
        int(code.read_text()) if code.exists() else None,
        console,
        log.read_text(errors="replace") if log.exists() else "",
    )


def python_job(module: str, *arguments: str) -> str:
    """A job that runs a module of this repository with this interpreter."""
    root = Path(__file__).resolve().parents[3]
    words = " ".join(f"'{a}'" for a in arguments)
    # The guest cannot write byte code below the host's root, and need not.
    return f"cd '{root}'\nPYTHONDONTWRITEBYTECODE=1 exec '{sys.executable}' -m {module} {words}\n"


def _modules() -> Path | None:
    """The kernel module directory of the installed package; the newest if there are several."""
    found = sorted(MODULES.glob("*/kernel/drivers/net/can/vcan.ko"))
    return found[-1].parents[3] if found else None


def _memory_dir() -> str:
    """Where the guest's RAM lives as a file: a RAM disk if there is one with room for it."""
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 2 * MEMORY_MB * 2**20:
        return str(shm)
    return "/tmp"
