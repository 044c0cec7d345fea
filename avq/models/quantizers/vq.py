"""Vector quantization with a straight-through gradient (arXiv 1711.00937) and an EMA codebook (its appendix A.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.collective import all_sum, random_rows
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.kmeans import cluster_sums, kmeans
from avq.models.quantizers.nearest import TILE_VALUES, nearest_codes

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig

_RESTART_BELOW = 0.05  # a code used less than this share of the mean use is dead
_SMOOTHING = 1e-5


def from_config(config: AutoencoderConfig) -> VectorQuantizer:
    """The quantizer "vq" of one level."""
    decay = config.ema_decay if config.codebook == "ema" else None
    return VectorQuantizer(config.codebook_size, config.code_dim, decay, config.commitment, config.dead_code_reset)


def mean_squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean of (a - b)^2, both `[N, D]`, in tiles, so that the difference never exists as a whole."""
    rows = max(1, TILE_VALUES // a.shape[1])
    tiles = zip(torch.split(a, rows), torch.split(b, rows), strict=True)
    distances = torch.cat([torch.linalg.vector_norm(x - y, dim=1) for x, y in tiles])
    return distances.square().mean() / a.shape[1]


class _StraightThrough(torch.autograd.Function):
    """Latents' code vectors, and the mean of |z - e|^2 twice: once to move the latents z, once to move the codebook.

    The gradient of the vectors passes straight to z. Autograd would make half a dozen tensors of the latents' size,
    where this makes one each way: the vectors, and the gradient of z.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, codebook: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents `[N, D]`, codebook `[K, D]` and codes `[N]` to vectors `[N, D]` and two equal scalars."""
        chosen = codebook.index_select(0, codes)
        error = mean_squared_distance(flat, chosen)
        ctx.save_for_backward(flat, chosen, codes)
        ctx.codebook_size = len(codebook)
        return chosen, error, error.clone()

    @staticmethod
    def backward(ctx: Any, straight: Tensor, to_latents: Tensor, to_codebook: Tensor) -> tuple[Tensor | None, ...]:
        flat, chosen, codes = ctx.saved_tensors
        difference = flat - chosen
        slope = 2 / difference.numel()
        codebook = None
        if ctx.needs_input_grad[1]:
            codebook = difference.new_zeros(ctx.codebook_size, difference.shape[1])
            codebook.index_add_(0, codes, difference * (to_codebook * -slope))
        return difference.mul_(to_latents * slope).add_(straight), codebook, None


class VectorQuantizer(Quantizer):
    """Replaces each latent vector by the nearest of K codebook vectors.

    The loss is `commitment * |z - sg(e)|^2`, plus `|sg(z) - e|^2` where the codebook learns by gradient; sg stops the
    gradient. Distances and statistics are float32 under any autocast.

    Args:
        codebook_size: K.
        dim: D, the channels of the latents.
        ema_decay: decay of the EMA codebook (a buffer); None makes the codebook a parameter that learns by gradient.
        commitment: beta, on the term that moves the encoder.
        dead_code_reset: in training, move codes that are hardly used onto random latents of the batch.
    """

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        ema_decay: float | None = None,
        commitment: float = 0.25,
        dead_code_reset: bool = False,
    ) -> None:
        super().__init__()
        self.codebook_size, self.dim = codebook_size, dim
        self.ema_decay, self.commitment, self.dead_code_reset = ema_decay, commitment, dead_code_reset
        if ema_decay is None:
            start = torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size)
            self.codebook: Tensor = nn.Parameter(start)
        else:
            self.register_buffer("codebook", torch.randn(codebook_size, dim))
            self.register_buffer("code_sums", self.codebook.clone())
        if ema_decay is not None or dead_code_reset:
            self.register_buffer("code_counts", torch.ones(codebook_size))  # with code_sums = codebook: a use each

    code_counts: Tensor
    code_sums: Tensor

    def forward(self, latents: Tensor) -> Quantized:
        with torch.autocast(latents.device.type, enabled=False):
            z = latents.float().movedim(1, -1)
            flat = z.reshape(-1, self.dim)
            codes = nearest_codes(flat.detach(), self.codebook.detach())
            chosen, to_latents, to_codebook = _StraightThrough.apply(flat, self.codebook, codes)
            loss = self.commitment * to_latents
            if self.ema_decay is None:
                loss = loss + to_codebook
            if self.training:
                self._learn(flat.detach(), codes)
        return Quantized(chosen.view_as(z).movedim(-1, 1), codes.view(z.shape[:-1]), loss)

    @torch.no_grad()
    def learn(self, latents: Tensor) -> None:
        self._learn(latents.float().movedim(1, -1).reshape(-1, self.dim), self.encode(latents).flatten())

    def encode(self, latents: Tensor) -> Tensor:
        z = latents.detach().float().movedim(1, -1)
        return nearest_codes(z.reshape(-1, self.dim), self.codebook.detach()).view(z.shape[:-1])

    def decode(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def initialise(self, latents: Tensor) -> None:
        """Start the codebook from k-means over latents `[B, D, H, W]`, and counts of use around 1.

        It stays as it is where a latent is not finite.
        """
        if not latents.isfinite().all():
            return
        centroids, counts = kmeans(latents.float().movedim(1, -1).reshape(-1, self.dim), self.codebook_size)
        self.codebook.copy_(centroids)
        if hasattr(self, "code_counts"):
            self.code_counts.copy_((counts / counts.mean()).clamp(min=2 * _RESTART_BELOW))
        if self.ema_decay is not None:
            self.code_sums.copy_(centroids * self.code_counts[:, None])

    def codebook_values(self) -> int:
        return self.codebook.numel()

    @torch.no_grad()
    def _learn(self, flat: Tensor, codes: Tensor) -> None:
        """One update; none of it where a latent of any rank is not finite, as the optimiser's step is then skipped."""
        if not hasattr(self, "code_counts"):
            return
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

        Such a code is taken to have at least this batch's use, so that it moves by no more than a code at rest does.
        """
        expected = self.code_sums / self._smoothed(self.code_counts)[:, None]
        # k-means initialisation and restarts leave as much between codebook and sums
        slack = 2e-4 + _SMOOTHING * self.codebook_size / self.code_counts.sum()
        moved = ((self.codebook - expected).abs() > slack * expected.abs()).any(1)
        counts = torch.where(moved, torch.maximum(self.code_counts, used), self.code_counts)
        return counts, torch.where(moved[:, None], self.codebook * counts[:, None], self.code_sums)

    def _restarted(self, state: dict[str, Tensor], flat: Tensor) -> dict[str, Tensor]:
        """Dead codes moved onto latents of the batch, with sums and counts to match."""
        mean_use = state["code_counts"].mean()
        dead = state["code_counts"] < _RESTART_BELOW * mean_use
        places = random_rows(flat, self.codebook_size)
        fresh = {"code_counts": mean_use, "code_sums": places * mean_use, "codebook": places}
        return {name: torch.where(dead if old.ndim == 1 else dead[:, None], fresh[name], old)
                for name, old in state.items()}  # fmt: skip
