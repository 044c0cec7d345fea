"""A training step of VQ-VAE-2 at 128x128 against the same architecture written the plain way, in four corners."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from avq.models.tokenizer import Reconstruction
from avq.models.zoo import create_variant
from avq.training.config import TrainConfig
from avq.training.step import TrainStep
from benchmarks.conftest import Report
from benchmarks.interleave import in_turns, ratio_of
from benchmarks.plain_vqvae2 import PlainStep

_ROUNDS = 15


class _StandardLayout(TrainStep):
    """Ours without what channels-last brings."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def reconstruct(self, images: Tensor) -> Reconstruction:
        return super().reconstruct(images.contiguous())


def corner(which: str, precision: str) -> TrainStep | PlainStep:
    """`ours` or `plain`, in `float32` with the standard layout or `bfloat16` with channels-last."""
    torch.manual_seed(0)
    fast = precision == "bfloat16"
    if which == "plain":
        return PlainStep(bfloat16=fast, channels_last=fast)
    config = TrainConfig(batch_size=4, loss="mse", precision=precision)  # type: ignore[arg-type]
    return (TrainStep if fast else _StandardLayout)(create_variant("vqvae2", image_size=128).train(), config, "cpu")


@pytest.mark.benchmark(group="train step")
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU does not compute in bfloat16")
def test_vqvae2_train_step(benchmark: Any, report: Report) -> None:
    batch = torch.randint(256, (4, 128, 128, 3), dtype=torch.uint8)
    corners = {(which, p): corner(which, p) for which in ("ours", "plain") for p in ("float32", "bfloat16")}
    values = {sum(p.numel() for p in step.model.parameters()) for step in corners.values()}
    assert len(values) == 1, "not the same architecture"

    def work(step: TrainStep | PlainStep) -> object:
        return step(batch) if isinstance(step, PlainStep) else step(batch, 0, check=True)

    works = [lambda step=step: work(step) for step in corners.values()]
    seconds = benchmark.pedantic(lambda: in_turns(works, _ROUNDS), rounds=1)
    of = dict(zip(corners, seconds.T, strict=True))

    def line(what: str, ours: tuple[str, str], peer: tuple[str, str], peer_name: str, goal: float | None) -> None:
        ratio = ratio_of(of[ours], of[peer])
        report(
            f"VQ-VAE-2 training step, 4 x 128 x 128, {what}", "ms", 1000 * ratio.ours, peer=peer_name,
            peer_value=1000 * ratio.peer, ratio=ratio.median, low=ratio.low, high=ratio.high, goal=goal,
            rounds=ratio.rounds,
        )  # fmt: skip

    shipped, faster = ("plain", "float32"), ("plain", "bfloat16")
    line("default (bf16, channels-last)", ("ours", "bfloat16"), shipped, "plain port, fp32", 2.0)
    line("both bf16 and channels-last", ("ours", "bfloat16"), faster, "plain port, bf16 channels-last", 1.15)
    line("both fp32, standard layout", ("ours", "float32"), shipped, "plain port, fp32", 1.15)
    line("the port itself, bf16 and channels-last", faster, shipped, "plain port, fp32", None)
