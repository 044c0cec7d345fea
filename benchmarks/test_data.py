"""Preparing images and feeding them, against what they must keep up with.

Real LSUN bedrooms (`$AVQ_DATA_ROOT`, else ``../shared/data``) where they are there; else drawn ones, and the figures
say which. The claims are ratios of two times taken on the same machine, one after the other; other work beside them
makes them worthless.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from avq.data.cards import get_card
from avq.data.chunks import CHUNK
from avq.data.config import DataConfig
from avq.data.loader import Batches, to_model
from avq.data.open import open_container
from avq.data.prepare import prepare
from avq.data.resize import fit_square
from avq.data.sources import load_dataset
from avq.data.synthetic import draw_faces
from avq.machine import cores

BEDROOMS = 2000
_ROOT = Path(os.environ.get("AVQ_DATA_ROOT") or Path(__file__).parents[2] / "shared" / "data")
_CARD = get_card("lsun-bedroom")


@pytest.fixture(scope="module")
def bedrooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the images are, and the folder they lie in."""
    folder = _ROOT / "lsun" / "bedroom"
    if folder.is_dir():
        return "bedrooms", folder
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(0, BEDROOMS, 100):
        for index, image in enumerate(draw_faces(number, number + 100, 256).images):
            Image.fromarray(image).save(folder / f"{number + index:04}.jpg", quality=90)
    return "drawn", folder


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class _Preparation:
    """One preparation at 64x64, and its images a second from the first chunks on: start-up of workers is apart."""

    def __init__(self, folder: Path, output: Path, workers: int) -> None:
        self._times: list[tuple[float, int]] = []
        container = open_container(folder)
        prepare(_CARD, container, 64, output, workers=workers, on_progress=self._note)
        (first, begun), (last, done) = self._times[0], self._times[-1]
        self.images_per_s = (done - begun) / (last - first)

    def _note(self, done: int, _total: int | None) -> None:
        self._times.append((time.perf_counter(), done))


@pytest.mark.benchmark(group="prepare 64x64")
@pytest.mark.skipif(cores() < 2, reason="needs two cores")
@pytest.mark.timeout(600)
def test_two_workers_prepare_nearly_twice_as_fast(benchmark: Any, bedrooms: tuple[str, Path], tmp_path: Path) -> None:
    kind, folder = bedrooms
    for path in folder.iterdir():  # no run is to wait for the disk
        path.read_bytes()
    rates: dict[int, list[float]] = {1: [], 2: []}

    def both(number: int) -> None:
        for workers in (1, 2):
            rates[workers].append(_Preparation(folder, tmp_path / f"{number}-{workers}", workers).images_per_s)

    numbers = iter(range(100))
    benchmark.pedantic(lambda: both(next(numbers)), rounds=3)
    one, two = (float(np.median(rates[workers])) for workers in (1, 2))
    benchmark.extra_info |= {"images": kind, "one-worker-images-per-s": one, "two-workers-images-per-s": two}
    print(f"\nprepare {kind} 64x64: {one:,.0f} images/s with 1 worker, {two:,.0f} with 2: {two / one:.2f} times")
    assert two >= 1.7 * one


@pytest.fixture(scope="module")
def prepared_256(bedrooms: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], Path]:
    """JPEG files, and a data root that holds them prepared at 256x256."""
    folder, root = tmp_path_factory.mktemp("some"), tmp_path_factory.mktemp("root")
    files = [path.read_bytes() for path in sorted(bedrooms[1].iterdir())[: 20 * CHUNK]]
    for number, data in enumerate(files):
        (folder / f"{number:04}.jpg").write_bytes(data)
    prepare(_CARD, open_container(folder), 256, root, processes=False)
    return files, root


@pytest.mark.benchmark(group="feed 256x256")
def test_prepared_batches_are_read_ten_times_as_fast_as_jpegs_are_decoded(
    benchmark: Any, prepared_256: tuple[list[bytes], Path]
) -> None:
    torch.set_num_threads(1)
    files, root = prepared_256
    train = load_dataset(DataConfig("lsun-bedroom", image_size=256), root).train
    batches, steps = Batches(train, 16, 0, flip=True), len(train) // 16

    def read() -> None:
        for step in range(steps):
            batches.batch(step)

    def decode() -> None:
        for data in files[: steps * 16]:
            fit_square(Image.open(io.BytesIO(data)).convert("RGB"), 256)

    read()  # the pages are in memory, as the JPEGs are
    decoding = min(_seconds(decode) for _ in range(5))
    benchmark.pedantic(read, rounds=20)
    reading = benchmark.stats.stats.min
    images = steps * 16
    benchmark.extra_info |= {"read-images-per-s": images / reading, "decode-images-per-s": images / decoding}
    print(
        f"\nfeed 256x256: {images / reading:,.0f} images/s prepared, {images / decoding:,.0f} decoded: "
        f"{decoding / reading:.1f} times"
    )
    assert decoding >= 10 * reading


@pytest.mark.benchmark(group="feed 64x64")
@pytest.mark.timeout(900)
def test_the_loader_delivers_five_times_what_the_fastest_variant_takes(
    benchmark: Any, bedrooms: tuple[str, Path], tmp_path: Path
) -> None:
    """As preset smoke trains: width 32, batches of 32; every variant that is trained is timed."""
    torch.set_num_threads(1)
    prepare(_CARD, open_container(bedrooms[1]), 64, tmp_path, workers=2)
    train = load_dataset(DataConfig("lsun-bedroom", image_size=64), tmp_path).train
    batches = Batches(train, 32, 0, flip=True)
    with multiprocessing.get_context("spawn").Pool(1) as alone:  # training sets malloc for its whole process
        variant, fastest = alone.apply(_fastest_variant, (train.images[:32].clone(),))
    steps = iter(range(10**9))
    benchmark.pedantic(lambda: to_model(batches.batch(next(steps))), rounds=200, warmup_rounds=20)
    rate = 32 / benchmark.stats.stats.median
    benchmark.extra_info |= {"loader-images-per-s": rate, "fastest-variant": variant, "train-images-per-s": fastest}
    print(f"\nfeed 64x64: {rate:,.0f} images/s; {variant} trains at {fastest:,.0f}: {rate / fastest:.1f} times")
    assert rate >= 5 * fastest


def _fastest_variant(batch: torch.Tensor) -> tuple[str, float]:
    torch.set_num_threads(1)
    from avq.models.zoo import create_variant, list_variants
    from avq.training.config import TrainConfig
    from avq.training.step import TrainStep

    rates = {}
    for name in list_variants():
        model = create_variant(name, image_size=64, width=32)
        if not model.is_baseline:
            step = TrainStep(model, TrainConfig(batch_size=len(batch)), "cpu", name)
            step(batch, 0)
            rates[name] = len(batch) / min(_seconds(lambda step=step: step(batch, 1)) for _ in range(3))
    name = max(rates, key=rates.__getitem__)
    return name, rates[name]
