"""A training step of VQ-VAE-2 at 128x128 against the same architecture written the plain way, in four corners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avq.models.convolution import TransposedConvolution
from avq.models.tokenizer import Reconstruction
from avq.models.zoo import create_variant
from avq.training.allocator import keep_freed_memory
from avq.training.config import TrainConfig
from avq.training.step import TrainStep
from benchmarks.conftest import Report
from benchmarks.interleave import in_turns, ratio_of
from benchmarks.own_process import OwnProcess
from benchmarks.plain_vqvae2 import PlainStep

_ROUNDS = 31


class _StandardLayout(TrainStep):
    """Ours without what channels-last brings."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def reconstruct(self, images: Tensor) -> Reconstruction:
        return super().reconstruct(images.contiguous())


def corner(which: str, precision: str) -> Callable[[], object]:
    """A training step of `ours` or the `plain` one, in `float32` with the standard layout or `bfloat16` with
    channels-last, on a batch of 4 at 128x128; `kept-memory` is the plain one with our setting of malloc.
    """
    torch.manual_seed(0)
    batch = torch.randint(256, (4, 128, 128, 3), dtype=torch.uint8)
    fast = precision == "bfloat16"
    if which != "ours":
        if which == "kept-memory":
            keep_freed_memory()
        plain = PlainStep(bfloat16=fast, channels_last=fast)
        assert _values(plain.model) == _values(create_variant("vqvae2", image_size=128)), "not the same architecture"
        return lambda: plain(batch)
    config = TrainConfig(batch_size=4, loss="mse", precision=precision)  # type: ignore[arg-type]
    step = (TrainStep if fast else _StandardLayout)(create_variant("vqvae2", image_size=128).train(), config, "cpu")
    return lambda: step(batch, 0, check=True).item()


def _values(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.benchmark(group="train step")
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU does not compute in bfloat16")
def test_vqvae2_train_step(benchmark: Any, report: Report) -> None:
    """Each corner in a process of its own, for ours keeps its freed memory by a setting of its whole process."""
    corners = [(which, p) for which in ("ours", "plain", "kept-memory") for p in ("float32", "bfloat16")]
    seconds = benchmark.pedantic(lambda: _in_turns("corner", corners), rounds=1)
    of = dict(zip(corners, seconds.T, strict=True))

    def line(what: str, ours: tuple[str, str], peer: tuple[str, str], peer_name: str, goal: float | None) -> None:
        ratio = ratio_of(of[ours], of[peer])
        report(
            f"VQ-VAE-2 training step, 4 x 128 x 128, {what}", "ms", 1000 * ratio.ours, peer=peer_name,
            peer_value=1000 * ratio.peer, ratio=ratio.median, low=ratio.low, high=ratio.high, goal=goal,
            rounds=ratio.rounds,
        )  # fmt: skip

    ours, shipped, faster = ("ours", "bfloat16"), ("plain", "float32"), ("plain", "bfloat16")
    line("default (bf16, channels-last)", ours, shipped, "plain port, fp32", 2.0)
    line("both bf16 and channels-last", ours, faster, "plain port, bf16 channels-last", 1.15)
    line("both bf16, channels-last and our malloc", ours, ("kept-memory", "bfloat16"),
         "plain port, bf16 channels-last, memory kept", None)  # fmt: skip
    line("both fp32, standard layout", ("ours", "float32"), shipped, "plain port, fp32", 1.15)
    line("the port itself, bf16 and channels-last", faster, shipped, "plain port, fp32", None)
    line("the port itself, our malloc", ("kept-memory", "float32"), shipped, "plain port, fp32", None)


@pytest.mark.benchmark(group="train step")
@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="this CPU does not compute in bfloat16")
def test_transposed_convolution(benchmark: Any, report: Report) -> None:
    """The decoder's, 4 x 128 x 32 x 32 to 64 x 64 x 64, forward and backward, both with kept memory."""
    seconds = benchmark.pedantic(lambda: _in_turns("transposed", [("ours",), ("torch",)], rounds=101), rounds=1)
    ratio = ratio_of(seconds[:, 0], seconds[:, 1])
    report(
        "transposed convolution, 4 x 128 x 32 x 32 to 64 channels, bf16 and channels-last", "ms", 1000 * ratio.ours,
        peer="nn.ConvTranspose2d", peer_value=1000 * ratio.peer, ratio=ratio.median, low=ratio.low, high=ratio.high,
        rounds=ratio.rounds,
    )  # fmt: skip


def transposed(which: str) -> Callable[[], object]:
    """Forward and backward of `ours` or `torch`'s layer, as in training: float32 weights under autocast."""
    keep_freed_memory()
    layer = (TransposedConvolution if which == "ours" else nn.ConvTranspose2d)(128, 64, 4, 2, 1)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(4, 128, 32, 32, dtype=torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_()
    slope = torch.randn(4, 64, 64, 64, dtype=torch.bfloat16).to(memory_format=torch.channels_last)

    def call() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(x)
        return torch.autograd.grad(out, [x, *layer.parameters()], slope)

    return call


def _in_turns(maker: str, what: Sequence[tuple[str, ...]], rounds: int = _ROUNDS) -> NDArray[np.float64]:
    """Seconds of each in each round; each has a process of its own, with as many threads as this one."""
    with ExitStack() as stack:
        name = f"{__name__}:{maker}"
        threads = torch.get_num_threads()
        works = [stack.enter_context(OwnProcess(name, *one, threads=threads)) for one in what]
        return in_turns(works, rounds)
