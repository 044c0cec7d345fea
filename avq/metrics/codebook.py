"""Codebook health per level over the whole split, and the rate in bits per pixel by two counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from avq.errors import AvqError
from avq.metrics.base import MetricObject
from avq.metrics.measurement import Measurement, measured, protocol_id, unavailable
from avq.metrics.registry import Metric, register_metric

if TYPE_CHECKING:
    from torch import Tensor

    from avq.metrics.subject import Subject

register_metric(
    Metric("bits-per-pixel", title="tokens decoded x log2 K / pixels", label="bits/px", unit="bit/px",
           kind="deterministic", format=".3f", of="codes", place=10, measured_by="avq.metrics.codebook:CodebookUse"),
    Metric("bits-per-pixel-entropy", title="the same rate by code entropy", label="entropy bits/px", unit="bit/px",
           format=".3f", of="codes", place=10, measured_by="avq.metrics.codebook:CodebookUse"),
    Metric("active-codes", title="codes used at least once in the split", label="active codes", unit="codes",
           better="higher", format=".0f", of="codes", place=70, not_judged="perplexity is judged in its place",
           measured_by="avq.metrics.codebook:CodebookUse"),
    Metric("codebook-utilization", title="share of the codebook used in the split", label="utilization",
           better="higher", format=".2f", of="codes", place=70, shown=False,
           not_judged="perplexity is judged in its place",
           measured_by="avq.metrics.codebook:CodebookUse"),
    Metric("perplexity", title="exp of the code entropy over the split", label="perplexity", unit="codes",
           better="higher", format=".0f", of="codes", place=70, measured_by="avq.metrics.codebook:CodebookUse"),
    Metric("dead-codes", title="codes never used in the split", label="dead codes", unit="codes", better="lower",
           format=".0f", of="codes", place=70, shown=False, not_judged="perplexity is judged in its place",
           measured_by="avq.metrics.codebook:CodebookUse"),
)  # fmt: skip

_COLLAPSED = 0.02  # a perplexity under this share of what it may be carries next to no information
PER_LEVEL = ("active-codes", "codebook-utilization", "perplexity", "dead-codes")


class CodebookUse(MetricObject):
    """How often each code is used, counted over the whole split (perplexity is never a mean over batches).

    Per level: `active-codes` (used at least once), `codebook-utilization` (their share of K), `perplexity` (exp of the
    entropy of the code frequencies, 1 to K or, if there are fewer, the number of tokens) and `dead-codes`; the `reason`
    of its rows names a collapsed codebook, and fewer tokens than codes, of which none can be called dead. Where a
    position has R codes, each is counted by itself: active and dead ones of all R K, entropy as their mean. Over all:
    `bits-per-pixel`, the sum over the levels that the decoder sees of tokens x log2 K / pixels, and
    `bits-per-pixel-entropy`, with the entropy in bits in place of log2 K: the ideal code length of single codes.
    """

    name = "codebook"

    def __init__(self, subject: Subject) -> None:
        import torch

        self.codebook_sizes, self.decoder_levels = list(subject.codebook_sizes), list(subject.decoder_levels)
        self.image_size = subject.image_size
        self._counts = [torch.zeros(1, k, dtype=torch.int64) for k in self.codebook_sizes]
        self._tokens = [0] * len(self.codebook_sizes)
        self._images = 0

    def update(self, reference: Tensor, reconstruction: Tensor, codes: Sequence[Tensor], **extras: Tensor) -> None:
        size = self.image_size
        if tuple(reference.shape[2:]) != (size, size):
            raise AvqError(f"codebook: images are {list(reference.shape[2:])}, the metric was made for {size}x{size}")
        if len(codes) != len(self.codebook_sizes):
            raise AvqError(f"codebook: got codes of {len(codes)} levels, expected {len(self.codebook_sizes)}")
        for index, (level_codes, k) in enumerate(zip(codes, self.codebook_sizes, strict=True)):
            self._counts[index] = self._counts[index] + _count(level_codes, k, len(reference), index + 1)
            tokens = level_codes[0].numel() if len(level_codes) else self._tokens[index]
            if self._images and tokens != self._tokens[index]:
                raise AvqError(
                    f"codebook: level {index + 1} has {tokens} codes per image, before {self._tokens[index]}"
                )
            self._tokens[index] = tokens
        self._images += len(reference)

    def most_frequent(self) -> list[list[int]]:
        """What each of a level's R codes was most often (the first of equals), bottom level first."""
        return [counts.argmax(1).tolist() for counts in self._counts]

    def compute(self) -> list[Measurement]:
        if not self.codebook_sizes or not self._images:
            reason = "no images were evaluated" if self.codebook_sizes else "the model has no codes"
            return [unavailable(name, reason) for name in (*PER_LEVEL, "bits-per-pixel", "bits-per-pixel-entropy")]
        entropies = [_entropy(counts) for counts in self._counts]
        rows = [row for index, entropy in enumerate(entropies) for row in self._level(index, entropy)]
        return rows + self._rates(entropies)

    def _level(self, index: int, entropy: float) -> list[Measurement]:
        counts, perplexity, level, k = self._counts[index], math.exp(entropy), index + 1, self.codebook_sizes[index]
        codes, active, tokens = counts.numel(), int((counts > 0).sum()), int(counts[0].sum())
        few = f"{tokens:,} tokens can use {tokens:,} of {k:,} codes at most" if tokens < k else ""
        collapsed = f"collapsed codebook: level {level} uses {active} of {codes} codes"
        reasons = [collapsed if is_collapsed(perplexity, k, tokens) else "", few]
        reason = "; ".join(filter(None, reasons))
        rows = [
            measured(name, value, level=level, n=self._images, protocol=protocol_id(name, over="split"), reason=reason)
            for name, value in zip(PER_LEVEL, (active, active / codes, perplexity, codes - active), strict=True)
        ]
        return (
            rows if not few else [*rows[:-1], unavailable(PER_LEVEL[-1], few, protocol=rows[-1].protocol, level=level)]
        )

    def _rates(self, entropies: list[float]) -> list[Measurement]:
        pixels = self.image_size**2
        nominal = nominal_rate(self._tokens, self.codebook_sizes, self.decoder_levels, pixels)
        by_entropy = sum(self._tokens[i - 1] * entropies[i - 1] / math.log(2) for i in self.decoder_levels) / pixels
        return [
            measured(name, value, n=self._images, protocol=protocol_id(name, levels="decoder"))
            for name, value in (("bits-per-pixel", nominal), ("bits-per-pixel-entropy", by_entropy))
        ]


def is_collapsed(perplexity: float, codebook_size: int, tokens: int) -> bool:
    """Whether a perplexity, counted over so many tokens, is close to 1 beside the most that it could be, K or fewer.

    Of under 50 tokens, 2 % of which are not one code, nothing is said.
    """
    return tokens * _COLLAPSED >= 1 and perplexity < 1 + _COLLAPSED * min(codebook_size, tokens)


def nominal_rate(
    tokens: Sequence[int], codebook_sizes: Sequence[int], decoder_levels: Sequence[int], pixels: int
) -> float:
    """Bits per pixel of an image: tokens x log2 K / pixels, over the levels (1 = bottom) that the decoder sees.

    `tokens` and `codebook_sizes` are per level, bottom first.
    """
    return sum(tokens[level - 1] * math.log2(codebook_sizes[level - 1]) for level in decoder_levels) / pixels


def _count(codes: Tensor, codebook_size: int, batch: int, level: int) -> Tensor:
    """Counts `[R, K]` of one level's codes `[B, h, w]` (R = 1) or `[B, h, w, R]`."""
    if codes.is_floating_point() or codes.ndim not in (3, 4) or len(codes) != batch:
        raise AvqError(
            f"codebook: level {level} needs integer codes [{batch}, h, w], not {list(codes.shape)} {codes.dtype}"
        )
    import torch

    several = codes.shape[3] if codes.ndim == 4 else 1
    flat = codes.detach().reshape(-1, several).cpu().long()
    low, high = (int(flat.min()), int(flat.max())) if flat.numel() else (0, 0)
    if low < 0 or high >= codebook_size:
        raise AvqError(f"codebook: level {level} has codes from {low} to {high}, but K is {codebook_size}")
    apart = (flat + torch.arange(several) * codebook_size).flatten()
    return apart.bincount(minlength=several * codebook_size).view(several, codebook_size)


def _entropy(counts: Tensor) -> float:
    """Entropy in nats of the frequencies behind int64 `counts` `[R, K]`, the mean over R."""
    total = int(counts[0].sum())
    return math.fsum(-c / total * math.log(c / total) for c in counts.flatten().tolist() if c) / len(counts)
