"""``avq-bench doctor``."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from avq import __version__
from avq.cli import options
from avq.cli.output import print_rows
from avq.errors import AvqError

if TYPE_CHECKING:
    from avq.data.cards import Card

_GIB = 2**30
_LEAST_MEMORY = 3 * _GIB  # enough for `make demo`
_LEAST_DISK = 2 * _GIB
_NEEDED = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "statsmodels", "matplotlib", "safetensors")


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; `fix` says what to do about a problem, and is empty if there is none."""

    check: str
    found: str
    fix: str = ""


@click.command()
@options.cards
@options.data_root
@options.output
@options.table_format
def command(data_root: Path | None, output: Path, style: str) -> None:
    """Check this machine and installation: versions, processor, memory, disk, datasets, prepared sets, accelerator.

    Each problem is listed with its fix; the exit code is 0 either way.

    \b
    Examples:
      avq-bench doctor
      avq-bench doctor --data-root ../shared/data --output /big/disk/avq-runs
    """
    checks = (_versions(), _processor(), _memory(), _disk(output), _data(data_root), _accelerator(), _checkpoint())
    findings = list(chain(*checks))
    print_rows([asdict(finding) for finding in findings], style)
    if style == "table":
        click.echo(f"\n{sum(bool(finding.fix) for finding in findings) or 'Nothing'} to fix.")


def _versions() -> Iterator[Finding]:
    yield Finding("avq-bench", __version__)
    yield Finding("python", platform.python_version())
    for name in _NEEDED:
        try:
            yield Finding(name, str(importlib.import_module(name).__version__))
        except Exception as error:  # a broken installation may fail in any way
            yield Finding(name, f"cannot be imported: {error}", f"pip install --force-reinstall {name}")


def _processor() -> Iterator[Finding]:
    import torch

    from avq.machine import cores, cpu_name
    from avq.training.precision import resolve_precision

    yield Finding("processor", f"{cpu_name()}, {cores()} cores, {torch.backends.cpu.get_cpu_capability()}")
    yield Finding("precision", f"auto means {resolve_precision('auto', 'cpu')} on this processor")
    threads = os.environ.get("OMP_NUM_THREADS")
    yield Finding("threads", f"{torch.get_num_threads()}" + (f" (OMP_NUM_THREADS={threads})" if threads else ""))


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    short = memory.available < _LEAST_MEMORY
    yield Finding(
        "memory",
        f"{memory.available / _GIB:.1f} GiB free of {memory.total / _GIB:.1f} GiB",
        "close other programs, or give --workers 1" if short else "",
    )


def _disk(store: Path) -> Iterator[Finding]:
    place = store.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    where = f"{store.absolute()}: {free / _GIB:.1f} GiB free"
    if not place.is_dir() or not os.access(place, os.W_OK):
        yield Finding("store", f"{where}, but {place} cannot be written", "name another folder with --output")
    else:
        fix = "free some space, or name another folder with --output" if free < _LEAST_DISK else ""
        yield Finding("store", where, fix)


def _data(data_root: Path | None) -> Iterator[Finding]:
    from avq.data.cards import get_card, list_datasets
    from avq.data.roots import resolve_root

    try:
        root, named = resolve_root(data_root)
    except AvqError as error:
        yield Finding("data root", str(error), "name the folder that holds the datasets with --data-root")
        return
    yield Finding("data root", f"{root}" + ("" if named else " (the default)"))
    cards = {name: get_card(name) for name in list_datasets()}
    sets = [one for place in _places(root) for one in _prepared(place, cards)]
    for name, card in cards.items():
        sizes = sorted({one.size for one in sets if one.name == name})
        if not card.folder:
            yield Finding(f"data {name}", "embedded, needs no files")
        elif (root / card.folder).is_dir() and (named or card.folder != "."):
            yield Finding(f"data {name}", f"found at {root / card.folder}")
        elif sizes:
            yield Finding(f"data {name}", f"prepared at {', '.join(map(str, sizes))} pixels")
        else:
            yield Finding(f"data {name}", f"not here; to get it: {card.how_to_get}")
    yield from (one.finding for one in sets)


class _Set(NamedTuple):
    """A prepared set: the name of its dataset, its size, and what was found."""

    name: str
    size: int
    finding: Finding


def _places(root: Path) -> list[Path]:
    """Folders that hold prepared sets: the data root, the user's cache, and sets that runs prepared from folders."""
    from avq.data.roots import cache_root

    own = cache_root()
    return [*dict.fromkeys([root, own]), *sorted(path for path in own.glob("from-folders/*") if path.is_dir())]


def _prepared(place: Path, cards: Mapping[str, Card]) -> Iterator[_Set]:
    from avq.data.prepared import find_prepared, prepared_sizes, set_name

    for name, card in cards.items():
        for size in prepared_sizes(place, name):
            folder = place / set_name(name, size)
            what = f"prepared {folder.name}"
            try:
                one = find_prepared(place, card, size)
                assert one is not None
            except AvqError as error:
                yield _Set(name, size, Finding(what, str(error), f"remove {folder}, and prepare it again"))
                continue
            images = ", ".join(f"{count:,} {split}" for split, count in one.counts.items())
            yield _Set(name, size, Finding(what, f"{images}; from {one.source_path}; at {folder}"))


def _accelerator() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding("accelerator", "none; runs use the processor")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding("accelerator", f"cuda:{index} {device.name}, {device.total_memory / _GIB:.0f} GiB")


def _checkpoint() -> Iterator[Finding]:
    from avq.cli.commands.reconstruct import shipped_checkpoint

    try:
        yield Finding("shipped checkpoint", str(shipped_checkpoint()))
    except AvqError as error:
        yield Finding("shipped checkpoint", "none", str(error))
