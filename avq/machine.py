"""The machine of a run: versions, hardware, git revision."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_GROUPS, _MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_PACKAGES = ("avq-bench", "torch", "torchvision", "numpy", "pandas", "pyarrow", "pillow", "scipy", "safetensors")


def cores() -> int:
    """CPU cores that this process may use: those it is bound to, or its control group's quota if that is less.

    A quota of 1.5 cores counts as one: a second run would be paused all the time, and its images per second would
    measure the quota.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (_cores_of(group, version) for group, version in control_groups("cpu"))
    return max(1, math.floor(min([bound, *quotas])))


def memory_room() -> float:
    """Bytes that this process's control groups still allow; caches count as free; infinite without a limit."""
    return min((_room_of(group, version) for group, version in control_groups("memory")), default=math.inf)


def control_groups(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of this process's control groups and their parents, each with its version (1 or 2).

    A line of `/proc/self/cgroup` is `<id>:<controllers>:<path>`; version 2 has no controllers. Its hierarchy starts at
    the mount itself, one of version 1 in a folder named after its controllers.
    """
    try:
        lines = [line.split(":", 2) for line in _GROUPS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and controller not in controllers.split(","):
            continue
        own = Path(path.lstrip("/"))
        for folder in (own, *own.parents):  # in a container the path may be the host's: its own group is the root
            for name in {controllers, controller} if controllers else {""}:
                yield _MOUNT / name / folder, 1 if controllers else 2


def _cores_of(group: Path, version: int) -> float:
    """One group's quota in cores: microseconds of CPU time per period."""
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join((group / name).read_text(encoding="ascii") for name in names).split()
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _room_of(group: Path, version: int) -> float:
    """Bytes left in one group; infinite without a limit ("max"), or where its folder is not visible."""
    names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    total = "" if version == 2 else "total_"
    try:
        limit, usage = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in names)
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return limit - usage + sum(int(stat.get(f"{total}{name}_file", 0)) for name in ("inactive", "active"))
    except (OSError, ValueError):
        return math.inf


@cache
def cpu_name() -> str:
    """The processor's model name, as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_name(device: str) -> str:
    """The exact hardware of a device (`cpu`, or `cuda` with or without an index), for the `machine` column."""
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():  # a run that failed on another machine
            return f"{device} of another machine"
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {cores()} cores"


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, hardware and git revision, JSON-able; written beside every run."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": machine_name(device),
        "device": device,
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _git_revision() -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None  # installed from a wheel: a repository around the user's folder is not ours
    try:
        output = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return output.stdout.strip() or None
