"""``avq-bench doctor``."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, product
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
_NEEDED = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "safetensors")


class Finding(NamedTuple):
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
    print_rows([finding._asdict() for finding in findings], style)
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
    fix = "close other programs, or give --workers 1" if memory.available < _LEAST_MEMORY else ""
    yield Finding("memory", f"{memory.available / _GIB:.1f} GiB free of {memory.total / _GIB:.1f} GiB", fix)


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
    from avq.data.prepared import prepared_sizes
    from avq.data.roots import cache_root, resolve_root

    try:
        root, named = resolve_root(data_root)
    except AvqError as error:
        yield Finding("data root", str(error), "name the folder that holds the datasets with --data-root")
        return
    yield Finding("data root", f"{root}" + ("" if named else " (the default)"))
    # Prepared sets are in the data root, in the user's cache, and, if runs prepared them, in `from-folders` there.
    own = cache_root()
    places = [*dict.fromkeys([root, own]), *sorted(path for path in own.glob("from-folders/*") if path.is_dir())]
    cards = [get_card(name) for name in list_datasets()]
    sizes: dict[str, set[int]] = defaultdict(set)
    sets = []
    for place, card in product(places, cards):
        for size in prepared_sizes(place, card.name):
            sizes[card.name].add(size)
            sets.append(_prepared(place, card, size))
    for card in cards:
        what, where = f"data {card.name}", root / card.folder
        if not card.folder:
            yield Finding(what, "embedded, needs no files")
        elif where.is_dir() and (named or card.folder != "."):
            yield Finding(what, f"found at {where}")
        elif card.name in sizes:
            yield Finding(what, f"prepared at {', '.join(map(str, sorted(sizes[card.name])))} pixels")
        else:
            yield Finding(what, f"missing; to get it: {card.how_to_get}")
    yield from sets


def _prepared(place: Path, card: Card, size: int) -> Finding:
    from avq.data.prepared import find_prepared, set_name

    folder = place / set_name(card.name, size)
    what = f"prepared {folder.name}"
    try:
        one = find_prepared(place, card, size)
    except AvqError as error:
        return Finding(what, str(error), f"remove {folder}, and prepare it again")
    assert one is not None
    images = ", ".join(f"{count:,} {split}" for split, count in one.counts.items())
    return Finding(what, f"{images}; from {one.source_path}; at {folder}")


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
