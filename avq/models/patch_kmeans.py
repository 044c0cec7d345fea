"""The baseline: k-means over raw image patches at the same nominal rate. A tokenizer must beat it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avq.errors import UsageError
from avq.models.quantizers.kmeans import kmeans
from avq.models.quantizers.nearest import nearest_codes
from avq.models.tokenizer import Baseline, Reconstruction, check_codes, check_image_size

_PATCH = 4
_FIT_PATCHES = 200_000
_FIT_ROUNDS = 30


class PatchKMeans(Baseline):
    """One code for each 4x4 patch: that of the nearest of K centroids. Image sides must be multiples of 4."""

    def __init__(self, codebook_size: int = 512, image_size: int = 32) -> None:
        super().__init__()
        check_image_size(image_size, _PATCH)
        if codebook_size < 2:
            raise UsageError(f"codebook_size must be at least 2, not {codebook_size}.")
        self.codebook_sizes, self.decoder_levels = [codebook_size], [1]
        self.register_buffer("codebook", torch.zeros(codebook_size, 3 * _PATCH**2))

    codebook: Tensor

    @torch.no_grad()
    def fit(self, images: Tensor, seed: int) -> None:
        """Lloyd's algorithm over a seeded sample of 200,000 patches of uint8 images `[N, H, W, 3]`."""
        torch.manual_seed(seed)
        height, width = images.shape[1] // _PATCH, images.shape[2] // _PATCH
        picked = torch.randint(len(images) * height * width, (_FIT_PATCHES,))
        image, place = picked // (height * width), picked % (height * width)
        grid = images.reshape(len(images), height, _PATCH, width, _PATCH, 3)
        patches = grid[image, place // width, :, place % width].flatten(1)
        centroids, _ = kmeans(patches.float() / 127.5 - 1, self.codebook.shape[0], _FIT_ROUNDS)
        self.codebook.copy_(centroids)

    def forward(self, images: Tensor) -> Reconstruction:
        codes = self.encode(images)
        return Reconstruction(self.decode(codes), codes, {})

    def encode(self, images: Tensor) -> list[Tensor]:
        for side in images.shape[2:]:
            check_image_size(int(side), _PATCH)
        batch, _, height, width = images.shape
        grid = images.float().reshape(batch, 3, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
        patches = grid.permute(0, 2, 4, 3, 5, 1)  # [B, h, w, row, column, colour], as in fit
        codes = nearest_codes(patches.reshape(-1, self.codebook.shape[1]), self.codebook.float())
        return [codes.view(patches.shape[:3])]

    def codebook_values(self) -> int:
        return self.codebook.numel()

    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        return [(image_size // _PATCH, image_size // _PATCH)]

    def decode(self, codes: list[Tensor]) -> Tensor:
        check_codes(codes, self.codebook_sizes)
        batch, height, width = codes[0].shape
        patches = F.embedding(codes[0].long(), self.codebook).reshape(batch, height, width, _PATCH, _PATCH, 3)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(batch, 3, height * _PATCH, width * _PATCH)
