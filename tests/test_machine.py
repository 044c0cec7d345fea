"""The cores and the memory that a process may use, by its binding and its control groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from avq import machine
from avq.machine import cores, memory_room

Place = Callable[[str, dict[str, str]], None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Put the process, bound to 64 cores, into control groups made of files."""
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_MOUNT", tmp_path / "mount")

    def make(groups: str, files: dict[str, str]) -> None:
        (tmp_path / "cgroup").write_text(groups)
        for name, text in files.items():
            path = tmp_path / "mount" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {}, 64),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/host/path\n", {"cpu.max": "250000 100000\n"}, 2),  # a container that sees the host's path
        ("0::/\n", {"cpu.max": "rubbish\n"}, 64),
        ("4:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n",
                                "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 3),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:cpu:/y\n", {"cpu/cpu.cfs_quota_us": "125000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2),
        ("2:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1\n", "cpuset/cpu.cfs_period_us": "1\n"}, 64),
    ],
)  # fmt: skip
def test_cores_within_the_quota(place: Place, groups: str, files: dict[str, str], expected: int) -> None:
    place(groups, files)
    assert cores() == expected


@pytest.mark.parametrize(("bound", "quota", "expected"), [(8, 200, 2), (8, 150, 1), (8, 20, 1), (2, 600, 2)])
def test_cores_are_the_lesser_of_binding_and_quota(
    place: Place, monkeypatch: pytest.MonkeyPatch, bound: int, quota: int, expected: int
) -> None:
    place("0::/\n", {"cpu.max": f"{quota} 100\n"})
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    assert cores() == expected


def limit(folder: str, names: tuple[str, str], total: str, used: int, stat: str) -> dict[str, str]:
    texts = zip((*names, "stat"), (total, str(used), stat), strict=True)
    return {f"{folder}/memory.{name}": text for name, text in texts}


def test_room_in_control_groups_of_version_2(place: Place) -> None:
    """The group has no limit, its parent has; caches count as free."""
    own = limit("pod/task", ("max", "current"), "max\n", 50, "anon 50\n")
    above = limit("pod", ("max", "current"), "1000\n", 700, "anon 600\ninactive_file 70\nactive_file 30\n")
    place("0::/pod/task\n", own | above)
    assert memory_room() == 400


def test_room_in_control_groups_of_version_1_seen_from_inside(place: Place) -> None:
    """A container's path does not exist below its own mount, whose root is the group itself."""
    stat = "total_inactive_file 100\ntotal_active_file 0\n"
    place(
        "5:cpu:/x\n4:memory:/docker/abc\n0::/\n",
        limit("memory", ("limit_in_bytes", "usage_in_bytes"), "1000", 700, stat),
    )
    assert memory_room() == 400


def test_no_control_groups_no_limit(place: Place) -> None:
    assert (cores(), memory_room()) == (64, math.inf)
