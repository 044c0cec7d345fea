"""VQ-VAE-2 (arXiv 1906.00446) the plain way: what its best-known port does, written anew for comparison.

The same layers as the zoo's `vqvae2`; a quantizer with a one-hot matrix for its statistics; standard layout, plain
Adam, no gradient clipping, and the loss read after every step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class OneHotQuantizer(nn.Module):
    """An EMA codebook `[D, K]` whose statistics are products with a one-hot matrix `[N, K]`."""

    def __init__(self, dim: int, codebook_size: int, decay: float = 0.99) -> None:
        super().__init__()
        self.codebook_sizes, self.decay = codebook_size, decay
        embed = torch.randn(dim, codebook_size)
        self.register_buffer("embed", embed)
        self.register_buffer("size", torch.zeros(codebook_size))
        self.register_buffer("average", embed.clone())

    embed: Tensor
    size: Tensor
    average: Tensor

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Channels-last latents `[B, H, W, D]` to the quantized, and the commitment loss."""
        flat = z.reshape(-1, z.shape[-1])
        distances = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.embed + self.embed.pow(2).sum(0, keepdim=True)
        codes = (-distances).max(1)[1]
        one_hot = F.one_hot(codes, self.codebook_sizes).type(flat.dtype)
        chosen = F.embedding(codes.view(z.shape[:-1]), self.embed.t())
        if self.training:
            self._learn(flat, one_hot)
        loss = (chosen.detach() - z).pow(2).mean()
        return z + (chosen - z).detach(), loss

    @torch.no_grad()
    def _learn(self, flat: Tensor, one_hot: Tensor) -> None:
        self.size.mul_(self.decay).add_(one_hot.sum(0), alpha=1 - self.decay)
        self.average.mul_(self.decay).add_(flat.t() @ one_hot, alpha=1 - self.decay)
        total = self.size.sum()
        size = (self.size + 1e-5) / (total + self.codebook_sizes * 1e-5) * total
        self.embed.copy_(self.average / size)


class ResBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, inner, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out + x


class PlainVQVAE2(nn.Module):
    """Two levels; images `[B, 3, H, W]` to reconstructions and the quantizers' loss."""

    def __init__(self, width: int = 128, inner: int = 64, dim: int = 64, codebook_size: int = 512) -> None:
        super().__init__()
        half = width // 2
        blocks = [ResBlock(width, inner) for _ in range(8)]
        self.bottom = nn.Sequential(
            nn.Conv2d(3, half, 4, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(half, width, 4, 2, 1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), *blocks[:2], nn.ReLU(inplace=True),
        )  # fmt: skip
        self.top = nn.Sequential(
            nn.Conv2d(width, half, 4, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(half, width, 3, padding=1),
            *blocks[2:4], nn.ReLU(inplace=True),
        )  # fmt: skip
        self.to_top = nn.Conv2d(width, dim, 1)
        self.top_quantizer = OneHotQuantizer(dim, codebook_size)
        self.top_decoder = nn.Sequential(
            nn.Conv2d(dim, width, 3, padding=1), *blocks[4:6], nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, dim, 4, 2, 1),
        )  # fmt: skip
        self.to_bottom = nn.Conv2d(width + dim, dim, 1)
        self.bottom_quantizer = OneHotQuantizer(dim, codebook_size)
        self.up = nn.ConvTranspose2d(dim, dim, 4, 2, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * dim, width, 3, padding=1), *blocks[6:], nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, half, 4, 2, 1), nn.ReLU(inplace=True), nn.ConvTranspose2d(half, 3, 4, 2, 1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        bottom = self.bottom(images)
        top, top_loss = self.top_quantizer(self.to_top(self.top(bottom)).permute(0, 2, 3, 1))
        top = top.permute(0, 3, 1, 2)
        joined = torch.cat([self.top_decoder(top), bottom], 1)
        low, low_loss = self.bottom_quantizer(self.to_bottom(joined).permute(0, 2, 3, 1))
        low = low.permute(0, 3, 1, 2)
        return self.decoder(torch.cat([self.up(top), low], 1)), top_loss + low_loss


class PlainStep:
    """One training step: images uint8 `[B, H, W, 3]` in, the loss out as a number."""

    def __init__(self, bfloat16: bool = False, channels_last: bool = False) -> None:
        self.model = PlainVQVAE2()
        self.bfloat16 = bfloat16
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=3e-4)

    def __call__(self, batch: Tensor) -> float:
        images = (batch.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=self.layout)
        self.model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            out, latent_loss = self.model(images)
        loss = F.mse_loss(out.float(), images) + 0.25 * latent_loss
        loss.backward()
        self.optimiser.step()
        return loss.item()
