"""Adapters for models of other libraries (extra `peers`), which are not imported here.

Each follows the contract of `avq.external.adapters`.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn


class _Peer(nn.Module):
    def __init__(self, model: Any, codebook_size: int | None = None) -> None:
        super().__init__()
        self.model, self.codebook_size = model, codebook_size


class DiffusersVQ(_Peer):
    """`diffusers.VQModel` (VQGAN's first stage): images in [-1, 1], codes `[B, h, w]`, one level."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, int(model.config.num_vq_embeddings))

    def encode(self, images: Tensor) -> Tensor:
        latents = self.model.encode(images).latents
        indices = self.model.quantize(latents)[2][2]
        return cast(Tensor, indices.reshape(len(latents), *latents.shape[2:]))

    def decode(self, codes: Tensor) -> Tensor:
        # The codebook and the two layers after it: the library's `decode` takes latents or codes, by a setting.
        quantized = self.model.quantize.embedding(codes).permute(0, 3, 1, 2).contiguous()
        spatial = quantized if self.model.config.norm_type == "spatial" else None
        return cast(Tensor, self.model.decoder(self.model.post_quant_conv(quantized), spatial))


class DiffusersKL(_Peer):
    """`diffusers.AutoencoderKL`: images in [-1, 1]; latents are the mode of the posterior, so no codes and no rate."""

    def encode(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.model.encode(images).latent_dist.mode())

    def decode(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.model.decode(latents).sample)


class PythaeVQVAE(_Peer):
    """`pythae.models.VQVAE`: images in [0, 1], one level; the values of a latent vector are quantized one by one."""

    image_range = (0, 1)

    def __init__(self, model: Any) -> None:
        super().__init__(model, int(model.quantizer.num_embeddings))
        self._flat = False

    def encode(self, images: Tensor) -> Tensor:
        latents = self.model.encoder(images).embedding
        self._flat = latents.ndim == 2
        grid = latents[:, None, None, :] if self._flat else latents
        indices = self.model.quantizer(grid.permute(0, 2, 3, 1)).quantized_indices
        return cast(Tensor, indices.reshape(len(images), *grid.shape[2:]))

    def decode(self, codes: Tensor) -> Tensor:
        embeddings = self.model.quantizer.embeddings
        table = embeddings.weight if isinstance(embeddings, nn.Embedding) else embeddings
        quantized = nn.functional.embedding(codes, table).permute(0, 3, 1, 2)
        return cast(Tensor, self.model.decoder(quantized.flatten(1) if self._flat else quantized).reconstruction)


_KNOWN = {
    ("diffusers", "VQModel"): DiffusersVQ,
    ("diffusers", "AutoencoderKL"): DiffusersKL,
    ("pythae", "VQVAE"): PythaeVQVAE,
}


def as_known(model: Any) -> Any:
    """A known model in its adapter; any other object as it is."""
    for kind in type(model).__mro__:
        adapter = _KNOWN.get((kind.__module__.partition(".")[0], kind.__name__))
        if adapter is not None:
            return adapter(model)
    return model
