"""Where a measurement was made, for the reports; and what a process has used, from Linux's /proc."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = ("anyio", "h11", "httpcore", "msgspec", "tiktoken", "trio", "uvloop")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def description() -> dict[str, str]:
    """Machine, Python and versions of what the speed depends on; packages that are not installed are left out."""
    found = {"machine": platform.platform(), "processor": _processor(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, in steps of a tick (10 ms)."""
    # The name of the command stands in brackets and may hold blanks: what counts comes after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process now and at its peak, in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1000, int(lines["VmHWM"].split()[0]) / 1000


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} x {os.cpu_count()}"
    return f"{platform.machine()} x {os.cpu_count()}"
