"""Attention's gain, distance and entropy from what was seen of each image."""

from __future__ import annotations

import pytest
import torch

from avq.errors import AvqError
from avq.metrics.attention import ATTENTION, AttentionMetric
from avq.metrics.subject import Subject

NAN = float("nan")
IMAGES = torch.zeros(3, 3, 8, 8)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_reported_per_level_where_there_is_attention(name: str) -> None:
    metric, key = AttentionMetric(Subject([8, 8], [1, 2], 8)), name.replace("-", "_")
    metric.update(IMAGES, IMAGES, [], **{key: torch.tensor([[1.0, NAN]] * 3)})
    rows = metric.compute()
    bottom, top = (row for row in rows if row.metric == name)
    assert (bottom.value, bottom.level, bottom.stderr) == (1, 1, 0)
    assert (top.status, top.level) == ("n/a", 2)
    assert {row.status for row in rows if row.metric != name} == {"n/a"}
    with pytest.raises(AvqError, match=r"expected \[B, 2\]"):
        metric.update(IMAGES, IMAGES, [], **{key: torch.zeros(3, 1)})


def test_the_protocol_of_the_spread_says_of_how_many_images_it_is() -> None:
    metric = AttentionMetric(Subject([8], [1], 8))
    metric.update(IMAGES, IMAGES, [], attention_distance=torch.tensor([[0.2], [0.4], [NAN]]))
    metric.update(IMAGES, IMAGES, [], attention_distance=torch.full((3, 1), NAN))
    (row,) = (row for row in metric.compute() if row.metric == "attention-distance")
    assert row.protocol == "attention-distance.1:rows=normalised;mean=2-images"
    assert (row.value, row.n, row.unit) == (pytest.approx(0.3), 2, "side")
