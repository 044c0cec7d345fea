"""How many cores a process may use: what it is bound to, and what a control group's quota gives it of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from avq import machine as environment
from avq.machine import _quota, cores


def made(folder: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    (folder / "cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup", folder / "mount"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/host/path\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container that sees the host's path
        ("0::/\n", {"cpu.max": "rubbish\n"}, math.inf),
        ("4:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n",
                                "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 3.0),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpu:/y\n", {"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 0.5),
        ("2:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1\n", "cpuset/cpu.cfs_period_us": "1\n"}, math.inf),
    ],
)  # fmt: skip
def test_quotas_of_both_versions(tmp_path: Path, groups: str, files: dict[str, str], expected: float) -> None:
    assert _quota(*made(tmp_path, groups, files)) == expected


@pytest.mark.parametrize(
    ("bound", "quota", "expected"), [(8, math.inf, 8), (8, 2.0, 2), (8, 1.5, 1), (8, 0.2, 1), (2, 6.0, 2)]
)
def test_cores_are_the_lesser_of_binding_and_quota(
    monkeypatch: pytest.MonkeyPatch, bound: int, quota: float, expected: int
) -> None:
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(environment, "_quota", lambda *_: quota)
    assert cores() == expected
