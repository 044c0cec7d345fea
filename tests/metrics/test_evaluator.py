"""The evaluator: protocol ids and per-image values."""

from __future__ import annotations

import pytest
import torch

from avq.errors import AvqError
from avq.metrics.error import MeanAbsoluteError
from avq.metrics.evaluator import Evaluator
from avq.metrics.measures import measures
from avq.metrics.registry import METRICS
from avq.metrics.subject import Subject


def evaluated(n: int, batch: int) -> Evaluator:
    generator = torch.Generator().manual_seed(3)
    reference = torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1
    rebuilt = torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1
    codes = torch.randint(8, (n, 4, 4), generator=generator)
    evaluator = Evaluator(measures(Subject([8], [1], 16)), "abc")
    for x, y, level in zip(reference.split(batch), rebuilt.split(batch), codes.split(batch), strict=True):
        evaluator.update(x, y, [level], attention_gain=torch.full((len(x), 1), 0.5))
    return evaluator


def test_results_do_not_depend_on_the_batch_size() -> None:
    first, *others = (evaluated(20, batch).compute() for batch in (1, 7, 64))
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert (a.metric, a.level, a.protocol, a.n) == (b.metric, b.level, b.protocol, b.n)
            assert a.value == (None if b.value is None else pytest.approx(b.value, rel=1e-12))


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint16, torch.uint8])
def test_empty_batches_and_codes_of_any_integers_change_nothing(dtype: torch.dtype) -> None:
    images, codes = torch.rand(6, 3, 16, 16) * 2 - 1, torch.randint(8, (6, 4, 4))
    results = []
    for sizes, kind in (([6], torch.int64), ([0, 2, 0, 4], dtype)):
        evaluator = Evaluator(measures(Subject([8], [1], 16)), "abc")
        for part, level in zip(images.split(sizes), codes.to(kind).split(sizes), strict=True):
            evaluator.update(part, part / 2, [level], attention_gain=torch.ones(len(part), 1))
        results.append(evaluator.compute())
    assert results[0] == results[1]


def test_every_measurement_is_registered_and_names_its_protocol() -> None:
    for row in evaluated(4, 2).compute():
        assert row.unit == METRICS.find(row.metric).unit
        assert row.protocol.startswith(f"{row.metric}.1:")
        assert row.protocol.endswith("ref=abc;n=4")
    protocols = {row.metric: row.protocol for row in evaluated(4, 2).compute()}
    assert protocols["mae"] == "mae.1:range=0-1;ref=abc;n=4"


def test_per_image_values_lie_beside_the_means() -> None:
    evaluator = evaluated(9, 4)
    frame = evaluator.per_image()
    assert list(frame.columns) == ["image", "mae", "mse", "psnr", "ssim", "eye-mae"]
    assert len(frame) == 9
    assert frame["mae"].mean() == pytest.approx({row.metric: row.value for row in evaluator.compute()}["mae"])


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(AvqError, match="share a name"):
        Evaluator([MeanAbsoluteError(), MeanAbsoluteError()], "abc")
