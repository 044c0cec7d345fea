"""The rate meter: what any tokenizer's codes cost, by priors of one size and budget trained on them.

The protocol is frozen: sequence order, transformer, optimiser and steps are those of `PriorConfig`'s defaults, and the
protocol id names them, so that rates of different programs compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from scipy import stats

from avq.data.randomness import Stream, order
from avq.errors import UsageError
from avq.priors.codes import Codes, smallest_type
from avq.priors.config import PriorConfig
from avq.priors.likelihood import cost
from avq.priors.sequence import Layout
from avq.priors.threads import one_thread
from avq.priors.train import train_prior
from avq.priors.transformer import fresh_prior
from avq.priors.unigram import Unigram
from avq.training.trainer import OnProgress

STANDARD = PriorConfig()
"""The size and budget of rates that compare."""

HELD_OUT = 5000
"""Training images that choose the weights where a dump has none for validation; at most a tenth."""


class Rate(NamedTuple):
    """What the test codes cost, in bits an image.

    Attributes:
        priors: under each prior; they differ by seed alone.
        unigram: by the frequency of each code at each place.
        nominal: log2 K a token.
        tokens: a sequence's length.
        curve: the first prior's convergence curve (`train_prior`).
        protocol: how the priors were trained; rates of different ids are never compared.
    """

    priors: tuple[float, ...]
    unigram: float
    nominal: float
    tokens: int
    curve: list[dict[str, float]]
    protocol: str

    @property
    def bits(self) -> float:
        """The mean over priors."""
        return mean(self.priors)

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Of the mean, over the seeds of priors: their own spread and not that of tokenizers. None for one prior."""
        n = len(self.priors)
        if n < 2:
            return None
        half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * stdev(self.priors) / n**0.5
        return self.bits - half, self.bits + half


def rate(
    splits: Mapping[str, Sequence[NDArray[Any]]],
    layout: Layout,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    config: PriorConfig = STANDARD,
    device: str = "cpu",
    watch: Callable[[int], OnProgress] | None = None,
) -> Rate:
    """Train priors on codes and measure them on test codes, on one CPU thread or a GPU.

    Args:
        splits: "train" (mirrored images among them, where the dataset allows it), "test", and perhaps "validation":
            codes `[N, h, w]` or `[N, h, w, depth]` of each level, bottom level first.
        layout: of the codes.
        seeds: one prior each.
        config: size and budget; others than the defaults have another protocol id.
        device: such as "cpu" or "cuda".
        watch: called before each prior with its seed; returns what is called about twice a second in its training.

    Raises:
        UsageError: codes that do not fit the layout, or too few of them.
    """
    sequences = {name: _sequences(name, levels, layout) for name, levels in splits.items()}
    train, test, validation = sequences["train"], sequences["test"], sequences.get("validation")
    if validation is None:
        mixed = order(0, Stream.SPLIT, 0, len(train))
        held = min(HELD_OUT, len(train) // 10)
        train, validation = train[mixed[held:]], train[mixed[:held]]
    if not len(test) or not len(validation):
        raise UsageError(f"{len(sequences['train']):,} images to train on and {len(test):,} for test are too few.")
    found, curves = [], []
    with one_thread():
        for seed in seeds:
            prior = fresh_prior(layout, config, seed)
            history = train_prior(
                prior, Codes(train), Codes(validation), seed,
                name=f"prior of seed {seed}", device=device, on_progress=watch(seed) if watch else None,
            )  # fmt: skip
            curves.append(history.rows)
            found.append(cost(prior, Codes(test), device).bits_per_image)
    unigram = cost(Unigram(layout).fit(train), Codes(test)).bits_per_image
    return Rate(tuple(found), unigram, layout.nominal_bits(), layout.length, curves[0], protocol(config))


def protocol(config: PriorConfig) -> str:
    """The protocol id of a rate."""
    budget = config.budget()
    size = f"{config.prior_width}x{config.prior_layers}x{config.prior_heads}"
    return f"rate.1:prior=gpt2-{size};steps={budget.steps};batch={budget.batch_size};lr={budget.learning_rate:g}"


def _sequences(name: str, levels: Sequence[NDArray[Any]], layout: Layout) -> NDArray[Any]:
    try:
        flat = layout.flatten([torch.from_numpy(level.astype("int64")) for level in levels])
    except UsageError as error:
        raise UsageError(f"{name} codes: {error}") from None
    return flat.numpy().astype(smallest_type(layout.vocabulary))
