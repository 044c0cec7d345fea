"""The one autoencoder that every variant of the zoo but the floor configures."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.attention import PixelwiseControl, ResidualPixelAttention
from avq.models.config import AutoencoderConfig
from avq.models.decoder import Resize, decoder
from avq.models.encoder import encoder_stages
from avq.models.quantiser import VectorQuantizer
from avq.models.tokenizer import Reconstruction, Tokenizer, check_image_size


class _Levels(NamedTuple):
    """Quantised latents and codes, bottom level first, and the quantisers' losses."""

    latents: list[Tensor]
    codes: list[Tensor]
    losses: dict[str, Tensor]


class Autoencoder(Tokenizer):
    """A hierarchical VQ autoencoder: encoder stages up, quantisers down, one decoder.

    From the top level down, each level's response, joined with the resized quantised latent of the level
    above, is projected to D channels by a 1x1 convolution, passes the attention layer where there is one, and
    is quantised (arXiv 2309.11641, fig. 1; arXiv 1906.00446, alg. 1). Level 1, the bottom, is index 0.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.num_codes = [config.num_codes] * config.levels
        self.decoder_levels = list(range(1, config.levels + 1)) if config.decoder_input == "all" else [1]
        self.stages = encoder_stages(config)
        self.projections, self.attentions = nn.ModuleList(), nn.ModuleList()
        self.quantisers, self.resizes, self.upsamplers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(1, config.levels + 1):
            top = level == config.levels
            projection, attention = _project_and_attend(config, level, config.width + (0 if top else config.dim))
            self.projections.append(projection)
            self.attentions.append(attention)
            decay = config.ema_decay if config.codebook == "ema" else None
            self.quantisers.append(
                VectorQuantizer(config.num_codes, config.dim, decay, config.commitment, config.restarts)
            )
            if not top:
                self.resizes.append(Resize(config, config.resize))
        for level in self.decoder_levels[1:]:
            mode = "transposed" if config.resize == "decoder" else config.resize
            self.upsamplers.append(Resize(config, mode, level - 1))
        self.decoder = decoder(config, config.dim * len(self.decoder_levels))

    def forward(self, images: Tensor) -> Reconstruction:
        """Reconstruct images `[B, 3, H, W]` in [-1, 1]; H and W are multiples of `config.stride`."""
        levels = self._quantise(images)
        return Reconstruction(self._decode(levels.latents), levels.codes, levels.losses)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Codes int64 `[B, h, w]` a level, bottom level first."""
        return self._quantise(images).codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Images `[B, 3, H, W]` from the codes of all levels, bottom first; only `decoder_levels` are looked at."""
        return self._decode([self._quantiser(level).decode(codes[level]) for level in range(len(codes))])

    def trunk(self, images: Tensor) -> list[Tensor]:
        """The encoder's response a level `[B, width, h, w]`, bottom first, before projection and attention."""
        responses = []
        for stage in self.stages:
            images = stage(images)
            responses.append(images)
        return responses

    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        """Height and width of each level's latent for square images of that side, bottom first."""
        return [(image_size // (4 * 2**level),) * 2 for level in range(self.config.levels)]

    @torch.no_grad()
    def initialise_codebooks(self, images: Tensor) -> None:
        """Start every codebook from the latents of these images, top level first (`data_init`).

        The latents are those of training mode, in which batch normalisation goes by the batch; its running
        statistics are left as they were.
        """
        if not self.config.data_init:
            return
        was_training = self.training
        self.train()
        self.quantisers.eval()
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
        self._quantise(images, initialise=True)
        for buffer, value in before:
            buffer.copy_(value)
        self.train(was_training)

    def _quantise(self, images: Tensor, initialise: bool = False) -> _Levels:
        self._check(images)
        responses = self.trunk(images)
        latents, codes, losses = levels = _Levels([], [], {})
        for level in reversed(range(self.config.levels)):
            response = responses[level]
            if latents:
                upper = self.resizes[level](latents[0]).to(response.dtype)
                response = torch.cat([upper, response], 1)
            latent = self.attentions[level](self.projections[level](response))
            if initialise:
                self._quantiser(level).initialise(latent)
            quantised = self._quantiser(level)(latent)
            latents.insert(0, quantised.latents)
            codes.insert(0, quantised.codes)
            losses[f"quantiser-{level + 1}"] = quantised.loss
        return levels

    def _decode(self, latents: list[Tensor]) -> Tensor:
        seen = [latents[0]]
        for upsample, level in zip(self.upsamplers, self.decoder_levels[1:], strict=True):
            seen.append(upsample(latents[level - 1]).to(seen[0].dtype))
        return cast(Tensor, self.decoder(torch.cat(seen, 1) if len(seen) > 1 else seen[0]))

    def _quantiser(self, level: int) -> VectorQuantizer:
        return cast(VectorQuantizer, self.quantisers[level])

    def _check(self, images: Tensor) -> None:
        stride = self.config.stride
        if images.ndim != 4 or images.shape[1] != 3:
            raise UsageError(f"images must be [B, 3, H, W], not {list(images.shape)}.")
        for side in images.shape[2:]:
            check_image_size(int(side), stride)


def _project_and_attend(config: AutoencoderConfig, level: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """The 1x1 projection to D channels and the layer after it; the projected form is both in one."""
    wanted = {"all": True, "bottom": level == 1, "top": level == config.levels}[config.attention_levels]
    projection = nn.Conv2d(channels, config.dim, 1)
    filters = config.filters or config.dim
    if config.attention == "none" or not wanted:
        return projection, nn.Identity()
    if config.attention == "wide":
        return projection, PixelwiseControl(config.dim, filters)
    if config.attention_form == "projected":
        return nn.Identity(), ResidualPixelAttention(channels, config.dim, "projected", config.similarity)
    return projection, ResidualPixelAttention(config.dim, filters, "literal", config.similarity)
