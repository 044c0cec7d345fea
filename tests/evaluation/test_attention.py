"""Attention as evaluation sees it: by tiles, over the first images, and for single pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avq.data.sources import Dataset
from avq.evaluation import attention as module
from avq.evaluation.attention import image_spread, look
from avq.evaluation.evaluate import evaluate
from avq.metrics.attention import row_spread
from avq.metrics.measurement import Measurement
from avq.models import create_variant
from avq.models.attention import ResidualPixelAttention

SMALL = {"width": 8, "codebook_size": 16}


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        self.elements = max([self.elements, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))])
        return out


def spread_rows(rows: list[Measurement]) -> dict[tuple[str, int | None], Measurement]:
    return {(row.metric, row.level): row for row in rows if row.metric in ("attention-distance", "attention-entropy")}


@pytest.mark.parametrize("similarity", ["sigmoid", "softmax"])
def test_tiles_give_what_all_rows_at_once_give(similarity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = ResidualPixelAttention(6, 6, similarity=similarity), torch.randn(3, 6, 5, 7)
    whole = image_spread(layer, x)
    for tile in (1, 250, 999):
        monkeypatch.setattr(module, "_TILE", tile)
        assert torch.allclose(image_spread(layer, x), whole, rtol=1e-5)


def test_no_tensor_of_all_pixels_by_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 2**12)
    layer, x = ResidualPixelAttention(4, 4), torch.randn(1, 4, 32, 32)
    with torch.no_grad(), Largest() as largest:
        image_spread(layer, x)
        module._look(layer, x, 1, (0.5, 0.5))
    assert largest.elements == 2**12  # N x N would be 2**20


def test_only_the_first_images_are_looked_at_whatever_the_batch(
    faces: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_variant("aren-2-rpa", 16, attention_levels="bottom", **SMALL)
    monkeypatch.setattr(module, "IMAGES", 10)
    results = []
    for batch in (1, 7, 24):
        monkeypatch.setattr("avq.evaluation.evaluate.EVALUATION_PIXELS", batch * 16 * 16)
        results.append(spread_rows(evaluate(model, faces).measurements))
    for rows in results:
        assert {row.n for (_, level), row in rows.items() if level == 1} == {10}
        assert {row.status for (_, level), row in rows.items() if level == 2} == {"n/a"}
        for key in rows.keys() & {("attention-distance", 1), ("attention-entropy", 1)}:
            row = rows[key]
            assert row.value == pytest.approx(results[0][key].value, rel=1e-5)
            assert row.protocol == results[0][key].protocol
    monkeypatch.setattr(module, "_WEIGHTS", 3 * 16**2)  # 16 pixels at level 1
    assert {row.n for key, row in spread_rows(evaluate(model, faces).measurements).items() if key[1] == 1} == {3}


@torch.no_grad()
def test_heads_attend_by_themselves() -> None:
    torch.manual_seed(0)
    layer, x = ResidualPixelAttention(6, 6, similarity="softmax", heads=3), torch.randn(2, 6, 4, 5)
    rows = torch.arange(20)
    by_head = [part.mean((1, 2)) for part in row_spread(layer.log_weights(x, rows), rows, (4, 5))]
    assert torch.allclose(image_spread(layer, x), torch.stack(by_head))
    base, update = layer.parts(x[:1])
    one = module._look(layer, x[:1], 1, (0.6, 0.1))
    assert one.gain == pytest.approx(float(update[0, :, 2, 0].norm() / base[0, :, 2, 0].norm()), rel=1e-5)
    assert float(one.shares.sum()) == pytest.approx(1)


@pytest.mark.parametrize("variant", ["aren-2-rpa", "aren-1-rpa-projected", "aren-1-uniform"])
@torch.no_grad()
def test_a_look_is_the_row_that_the_model_uses(variant: str) -> None:
    torch.manual_seed(0)
    model = create_variant(variant, 32, **SMALL).eval()
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    seen: list[Tensor] = []
    for layer in model.attentions:  # type: ignore[union-attr]
        layer.register_forward_hook(lambda _layer, inputs, _out: seen.insert(0, inputs[0]))
    (looks,) = look(model, image, [(0.3, 0.99)])
    for one, layer, x in zip(looks, model.attentions, seen, strict=True):  # type: ignore[arg-type]
        height, width = x.shape[2:]
        assert one.place == (int(0.3 * height), width - 1)
        base, update = (part[0, :, one.place[0], one.place[1]] for part in layer.parts(x))  # type: ignore[operator]
        assert one.gain == pytest.approx(float(update.norm() / base.norm()), rel=1e-4)
        assert one.shares.shape == (height, width)
        assert float(one.shares.sum()) == pytest.approx(1)
    assert not any(len(layer._forward_hooks) > 1 for layer in model.attentions)  # type: ignore[union-attr]
