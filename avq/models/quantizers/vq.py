"""Vector quantization with a straight-through gradient (arXiv 1711.00937) and an EMA codebook (its appendix A.1).

Options: l2-normalised codes (ViT-VQGAN, 2110.04627, section 3.2) and the rotation trick (2410.06424).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.collective import all_sum, random_rows
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.entropy import softmax_entropies
from avq.models.quantizers.flat import CodebookQuantizer, projected
from avq.models.quantizers.kmeans import cluster_sums, kmeans
from avq.models.quantizers.nearest import code_vectors, nearest_codes

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig

_RESTART_BELOW = 0.05  # a code used less than this share of the mean use is dead
_SMOOTHING = 1e-5


def from_config(config: AutoencoderConfig) -> Quantizer:
    """The quantizer "vq" of one level."""
    dim = config.quantizer_dim or config.code_dim
    inner = plain(config, dim)
    inner.normalize, inner.rotated = config.normalize, config.gradient == "rotation"
    inner.entropy_weight, inner.temperature = config.entropy_weight or 0.0, config.entropy_temperature or 0.01
    return projected(inner, config.code_dim, dim)


def plain(config: AutoencoderConfig, dim: int) -> VectorQuantizer:
    """One without options, for vectors of `dim` channels."""
    decay = config.ema_decay if config.codebook == "ema" else None
    return VectorQuantizer(config.codebook_size, dim, decay, config.commitment, config.dead_code_reset)


class VectorQuantizer(CodebookQuantizer):
    """Replaces each latent vector by the nearest of K codebook vectors.

    The loss is `commitment * |z - sg(e)|^2`, plus `|sg(z) - e|^2` where the codebook learns by gradient; sg stops the
    gradient.

    Args:
        codebook_size: K.
        dim: D, the channels of the latents.
        ema_decay: decay of the EMA codebook (a buffer); None makes the codebook a parameter that learns by gradient.
        commitment: beta, on the term that moves the encoder.
        dead_code_reset: in training, move codes that are hardly used onto random latents of the batch.

    Attributes:
        normalize: whether latents and codebook vectors are scaled to length 1 wherever they are used.
        rotated: whether the gradient passes to the latents by the rotation trick (`code_vectors`).
        entropy_weight: weight of `E[H(q)] - H(E[q])`, q being the softmax over codes of `-|z - e|^2 / temperature`.
        temperature: of q.
    """

    normalize = rotated = False
    entropy_weight, temperature = 0.0, 0.01

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        ema_decay: float | None = None,
        commitment: float = 0.25,
        dead_code_reset: bool = False,
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.ema_decay, self.commitment, self.dead_code_reset = ema_decay, commitment, dead_code_reset
        if ema_decay is None:
            start = torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size)
            self.codebook = nn.Parameter(start)
        else:
            self.register_buffer("codebook", torch.randn(codebook_size, dim))
            self.register_buffer("code_sums", self.codebook.clone())
        if ema_decay is not None or dead_code_reset:
            self.register_buffer("code_counts", torch.ones(codebook_size))  # with code_sums = codebook: a use each

    code_counts: Tensor
    code_sums: Tensor

    def quantize(self, flat: Tensor) -> Quantized:
        flat, codebook = self._scaled(flat), self._scaled(self.codebook)
        codes = nearest_codes(flat.detach(), codebook.detach())
        chosen, to_latents, to_codebook = code_vectors(flat, codebook, codes, self.rotated)
        loss = self.commitment * to_latents
        if self.ema_decay is None:
            loss = loss + to_codebook
        if self.entropy_weight:
            weight = codebook * (2 / self.temperature)
            half_norms = weight.square().sum(1) * (-self.temperature / 4)
            sample, batch = softmax_entropies(flat, weight, half_norms, self.training)
            loss = loss + self.entropy_weight * (sample - batch)
        return Quantized(chosen, codes, loss)

    def assign(self, flat: Tensor) -> Tensor:
        return nearest_codes(self._scaled(flat), self._scaled(self.codebook.detach()))

    def vectors(self, codes: Tensor) -> Tensor:
        return self._scaled(self.codebook).index_select(0, codes)

    def start_from(self, flat: Tensor) -> None:
        """Start the codebook from k-means, and counts of use around 1."""
        centroids, counts = kmeans(self._scaled(flat), self.codebook_size)
        self.codebook.copy_(centroids)
        if hasattr(self, "code_counts"):
            self.code_counts.copy_((counts / counts.mean()).clamp(min=2 * _RESTART_BELOW))
        if self.ema_decay is not None:
            self.code_sums.copy_(centroids * self.code_counts[:, None])

    def _scaled(self, vectors: Tensor) -> Tensor:
        """To length 1, if that is asked for; from a copy, since `learn_from` moves the codebook in place."""
        return F.normalize(vectors.clone(), dim=1) if self.normalize else vectors

    def learn_from(self, flat: Tensor, codes: Tensor) -> None:
        """One update; none of it where a latent of any rank is not finite, as the optimiser's step is then skipped."""
        if not hasattr(self, "code_counts"):
            return
        flat = self._scaled(flat)
        used, latents = all_sum(*cluster_sums(flat, codes, self.codebook_size))
        decay = self.ema_decay if self.ema_decay is not None else 0.99
        if self.ema_decay is None:
            new = {"code_counts": self.code_counts.lerp(used, 1 - decay), "codebook": self.codebook}
        else:
            counts, sums = self._following_codebook(used)
            counts, sums = counts.lerp(used, 1 - decay), sums.lerp(latents, 1 - decay)
            codebook = sums / self._smoothed(counts)[:, None]
            new = {"code_counts": counts, "code_sums": sums, "codebook": codebook}
        if self.dead_code_reset:
            new = self._restarted(new, flat)
        finite = latents.isfinite().all()  # a tensor: waiting for its value would hold up a GPU
        for name, value in new.items():
            own = getattr(self, name)
            own.copy_(torch.where(finite, value, own))

    def _smoothed(self, counts: Tensor) -> Tensor:
        """Laplace smoothing, so that an unused code does not divide by zero."""
        total = counts.sum()
        return (counts + _SMOOTHING) / (total + self.codebook_size * _SMOOTHING) * total

    def _following_codebook(self, used: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and sums, made anew for codes that were set from outside (`copy_`, a gradient codebook's weights).

        Such a code is taken to have at least its use in this batch, so that it moves by no more than a code at rest
        does, and at least the mean use, so that it is not dead yet.
        """
        expected = self.code_sums / self._smoothed(self.code_counts)[:, None]
        # k-means initialisation and restarts leave as much between codebook and sums
        slack = 2e-4 + _SMOOTHING * self.codebook_size / self.code_counts.sum()
        moved = ((self.codebook - expected).abs() > slack * expected.abs()).any(1)
        least = torch.maximum(used, used.mean())
        counts = torch.where(moved, torch.maximum(self.code_counts, least), self.code_counts)
        return counts, torch.where(moved[:, None], self.codebook * counts[:, None], self.code_sums)

    def _restarted(self, state: dict[str, Tensor], flat: Tensor) -> dict[str, Tensor]:
        """Dead codes moved onto latents of the batch, with sums and counts to match."""
        mean_use = state["code_counts"].mean()
        dead = state["code_counts"] < _RESTART_BELOW * mean_use
        places = random_rows(flat, self.codebook_size)
        fresh = {"code_counts": mean_use, "code_sums": places * mean_use, "codebook": places}
        return {name: torch.where(dead if old.ndim == 1 else dead[:, None], fresh[name], old)
                for name, old in state.items()}  # fmt: skip
