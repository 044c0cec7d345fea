"""The evaluator: protocol ids, per-image values, merging; the catalogue and attention's gain."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from avq.errors import AvqError, NotComparable, UsageError
from avq.metrics.attention import ATTENTION, AttentionMetric
from avq.metrics.catalogue import METRICS, format_value, get_metric
from avq.metrics.error import MeanAbsoluteError
from avq.metrics.evaluator import Evaluator, default_metrics


def evaluated(n: int, batch: int, reference_id: str = "abc") -> Evaluator:
    generator = torch.Generator().manual_seed(3)
    reference = torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1
    rebuilt = torch.rand(n, 3, 16, 16, generator=generator) * 2 - 1
    codes = torch.randint(8, (n, 4, 4), generator=generator)
    evaluator = Evaluator(default_metrics([8], [1], 16), reference_id)
    for at in range(0, n, batch):
        part = slice(at, at + batch)
        evaluator.update(
            reference[part],
            rebuilt[part],
            [codes[part]],
            attention_gain=torch.full((len(codes[part]), 1), 0.5),
        )
    return evaluator


def test_results_do_not_depend_on_the_batch_size() -> None:
    first, *others = (evaluated(20, batch).compute() for batch in (1, 7, 64))
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert (a.metric, a.level, a.protocol, a.n) == (b.metric, b.level, b.protocol, b.n)
            assert a.value == (None if b.value is None else pytest.approx(b.value, rel=1e-12))


def test_every_measurement_is_catalogued_and_names_its_protocol() -> None:
    for row in evaluated(4, 2).compute():
        assert row.unit == get_metric(row.metric).unit
        assert row.protocol.startswith(f"{row.metric}.1:")
        assert row.protocol.endswith("ref=abc;n=4")
    protocols = {row.metric: row.protocol for row in evaluated(4, 2).compute()}
    assert protocols["mae"] == "mae.1:range=0-1;ref=abc;n=4"


def test_per_image_values_lie_beside_the_means() -> None:
    evaluator = evaluated(9, 4)
    frame = evaluator.per_image()
    assert list(frame.columns) == ["image", "mae", "mse", "psnr", "eye-mae", "ssim"]
    assert len(frame) == 9
    assert frame["mae"].mean() == pytest.approx(evaluator.compute()[0].value)


def test_merging_needs_the_same_reference_and_metrics() -> None:
    evaluator = evaluated(4, 2)
    evaluator.merge(evaluated(4, 4))
    assert evaluator.images == 8
    assert evaluator.compute()[0].n == 8
    with pytest.raises(NotComparable, match="abc and xyz"):
        evaluator.merge(evaluated(4, 2, "xyz"))
    with pytest.raises(NotComparable, match="different metrics"):
        evaluator.merge(Evaluator([MeanAbsoluteError()], "abc"))


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(AvqError, match="share a name"):
        Evaluator([MeanAbsoluteError(), MeanAbsoluteError()], "abc")


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_told_per_level_where_there_is_attention(name: str) -> None:
    metric, key = AttentionMetric(name, 2), name.replace("-", "_")
    images = torch.zeros(3, 3, 8, 8)
    metric.update(images, images, [], **{key: torch.tensor([[1.0, float("nan")]] * 3)})
    bottom, top = metric.compute()
    assert bottom.value == 1
    assert bottom.level == 1
    assert bottom.stderr == 0
    assert top.status == "n/a"
    assert top.level == 2
    with pytest.raises(AvqError, match=r"expected \[B, 2\]"):
        metric.update(images, images, [], **{key: torch.zeros(3, 1)})
    assert {row.status for row in AttentionMetric(name, 2).compute()} == {"n/a"}


def test_the_protocol_of_the_spread_says_of_how_many_images_it_is() -> None:
    first, second = (AttentionMetric("attention-distance", 1) for _ in range(2))
    images = torch.zeros(3, 3, 8, 8)
    first.update(images, images, [], attention_distance=torch.tensor([[0.2], [0.4], [float("nan")]]))
    second.update(images, images, [], attention_distance=torch.full((3, 1), float("nan")))
    first.merge(second)
    (row,) = first.compute()
    assert row.protocol == "attention-distance.1:rows=normalised;mean=2-images"
    assert (row.value, row.n, row.unit) == (pytest.approx(0.3), 2, "side")


@pytest.mark.parametrize(
    ("metric", "value", "spread", "text"),
    [
        ("mae", 0.04551, None, "0.0455"),
        ("mae", 0.04551, 0.00042, "0.0455 ± 0.0004"),
        ("mae", None, None, "-"),
        ("params-trainable", 1388867, None, "1.39 M"),
        ("params-trainable", 132096, None, "132 k"),
        ("params-trainable", 999700, None, "1000 k"),
        ("params-trainable", 812, None, "812"),
        ("macs", 2.5e9, None, "2.5 G"),
        ("usage", 0.5, None, "0.50"),
        ("fd-squeezenet", 13110.4, 1751.6, "13110 ± 1752"),
        ("fd-squeezenet", 12.3456, 0.1234567, "12.35 ± 0.1235"),
        ("attention-gain", 0.0000123, None, "1.23e-05"),
    ],
)
def test_values_are_printed_with_sensible_digits(
    metric: str, value: float | None, spread: float | None, text: str
) -> None:
    assert format_value(metric, value, spread) == text


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'perplexity'"):
        get_metric("perplexty")


def test_names_are_lower_case_with_hyphens() -> None:
    assert all(name == name.lower() and "_" not in name and " " not in name for name in METRICS)


def test_the_catalogue_needs_no_torch() -> None:
    code = "import avq.metrics.catalogue, sys; assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
