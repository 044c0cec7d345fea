"""The one autoencoder that every variant of the zoo but the k-means baseline configures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.fields import unstated
from avq.models.asking import evaluating
from avq.models.backbones import Resize, decoder, encoder_stages
from avq.models.config import AutoencoderConfig, split_settings
from avq.models.full_precision import dtype_of
from avq.models.quantizers.base import Quantizer
from avq.models.quantizers.registry import QUANTIZERS
from avq.models.recipe import ATTENTION
from avq.models.tokenizer import Attention, Level, Reconstruction, Tokenizer, check_codes, check_image_size
from avq.registry import load

_FIELD_WIDTH = 4  # a receptive field does not depend on the width, and a narrow model is faster


def autoencoder(image_size: int, **settings: Any) -> Autoencoder:
    """Build it for images of that side in pixels; UsageError for resolved settings or a size that do not fit.

    Settings that a checkpoint is older than have the value that was in force before them.
    """
    own, of_quantizer = split_settings(settings)
    config = AutoencoderConfig(**{**unstated(AutoencoderConfig), **own})
    check_image_size(image_size, config.stride)
    return Autoencoder(config, **of_quantizer)


class _Pass(NamedTuple):
    """Quantized latents and codes, bottom level first, and the quantizers' losses."""

    latents: list[Tensor]
    codes: list[Tensor]
    losses: dict[str, Tensor]


class Autoencoder(Tokenizer):
    """A hierarchical VQ autoencoder: encoder stages up, quantizers down, one decoder.

    From the top level down, each level's response, joined with the resized quantized latent of the level above, is
    projected to D channels by a 1x1 convolution, passes the attention layer if there is one, and is quantized
    (arXiv 2309.11641, fig. 1; arXiv 1906.00446, alg. 1). Level 1, the bottom, is index 0.

    Args:
        config: the settings of the family.
        **of_quantizer: the quantizer's own settings.
    """

    def __init__(self, config: AutoencoderConfig, **of_quantizer: Any) -> None:
        super().__init__()
        self.config, self.of_quantizer = config, of_quantizer
        self._seen = list(range(1, config.levels + 1)) if config.decoder_input == "all" else [1]
        self.stages = encoder_stages(config)
        self.projections, self.attentions = nn.ModuleList(), nn.ModuleList()
        self.quantizers, self.resizes, self.upsamplers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        quantizer = load(QUANTIZERS.find(config.quantizer).factory, f"quantizer '{config.quantizer}'")
        for level in range(1, config.levels + 1):
            top = level == config.levels
            projection, attention = _project_and_attend(config, level, config.width + (0 if top else config.code_dim))
            self.projections.append(projection)
            self.attentions.append(attention)
            self.quantizers.append(quantizer(config, **of_quantizer))
            if not top:
                self.resizes.append(Resize(config, config.resize))
        levels = [level.quantizer for level in self.find_levels()]
        self.codebook_sizes = [level.codebook_size for level in levels if level.codebook_size]
        self.codes_per_position = levels[0].codes_per_position
        self.decoder_levels = self._seen if self.codebook_sizes else []
        for level in self._seen[1:]:
            mode = "transposed" if config.resize == "decoder" else config.resize
            self.upsamplers.append(Resize(config, mode, level - 1))
        self.decoder = decoder(config, config.code_dim * len(self._seen))

    def forward(self, images: Tensor) -> Reconstruction:
        """Reconstruct images `[B, 3, H, W]` in [-1, 1]; H and W are multiples of `config.stride`.

        Images of any dtype are taken in the weights', and returned in it.
        """
        done = self._quantize(images)
        return Reconstruction(self._decode(done.latents), done.codes if self.codebook_sizes else [], done.losses)

    def encode(self, images: Tensor) -> list[Tensor]:
        with evaluating(self.modules()):
            return self._quantize(images).codes

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Images `[B, 3, H, W]` from the codes of all levels, bottom first; only `decoder_levels` are used.

        UsageError, which names the level, for codes of another number of levels, order or shape, or of no codebook.
        """
        if self.codebook_sizes:
            check_codes(codes, self.codebook_sizes)
            codes = [level.long() for level in codes]
        with evaluating(self.modules()):
            return self._decode([self._quantizer(level).decode(part) for level, part in enumerate(codes)])

    def backbone(self, images: Tensor) -> list[Tensor]:
        with evaluating(self.modules()):
            return self._respond(images)

    def _respond(self, images: Tensor) -> list[Tensor]:
        responses = []
        images = images.to(dtype_of(self.stages))
        for stage in self.stages:
            images = stage(images)
            responses.append(images)
        return responses

    def find_levels(self) -> list[Level]:
        pairs = zip(self.quantizers, self.attentions, strict=True)
        return [Level(cast(Quantizer, q), a if isinstance(a, Attention) else None) for q, a in pairs]

    def find_parts(self) -> dict[nn.Module, str]:
        """Encoder, attention and quantizer of each level, and the decoder; what joins levels is in none."""
        parts: dict[nn.Module, str] = {self.decoder: "decoder"} | dict.fromkeys(self.upsamplers, "decoder")
        kinds = [("encoder", self.stages), ("encoder", self.projections), ("attention", self.attentions),
                 ("quantizer", self.quantizers)]  # fmt: skip
        for kind, modules in kinds:
            parts |= {module: f"{kind} level {number}" for number, module in enumerate(modules, 1)}
        return {part: name for part, name in parts.items() if not isinstance(part, nn.Identity)}

    def narrowed(self) -> Autoencoder:
        return Autoencoder(replace(self.config, width=_FIELD_WIDTH, residual_width=None), **self.of_quantizer)

    def latent_sizes(self, image_size: int) -> list[tuple[int, int]]:
        return [(image_size // (4 * 2**level),) * 2 for level in range(self.config.levels)]

    @torch.no_grad()
    def initialise_codebooks(self, images: Tensor) -> None:
        """Start every codebook from the latents of these images, top level first (`kmeans_init`).

        The latents are those of training mode, with the batch's own normalisation; running statistics stay as they are.
        """
        if not self.config.kmeans_init:
            return
        was_training = self.training
        self.train()
        self.quantizers.eval()
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
        self._quantize(images, initialise=True)
        for buffer, value in before:
            buffer.copy_(value)
        self.train(was_training)

    def _quantize(self, images: Tensor, initialise: bool = False) -> _Pass:
        if images.ndim != 4 or images.shape[1] != 3:
            raise UsageError(f"images must be [B, 3, H, W], not {list(images.shape)}.")
        for side in images.shape[2:]:
            check_image_size(int(side), self.config.stride)
        responses = self._respond(images)
        latents, codes, losses = done = _Pass([], [], {})
        for level in reversed(range(self.config.levels)):
            response = responses[level]
            if latents:
                upper = self.resizes[level](latents[0]).to(response.dtype)
                response = torch.cat([upper, response], 1)
            latent = self.attentions[level](self.projections[level](response))
            if initialise:
                self._quantizer(level).initialise(latent)
            quantized = self._quantizer(level)(latent)
            latents.insert(0, quantized.latents)
            codes.insert(0, quantized.codes)
            losses[f"quantizer-{level + 1}"] = quantized.loss
        return done

    def _decode(self, latents: list[Tensor]) -> Tensor:
        seen = [latents[0].to(dtype_of(self.decoder))]
        for upsample, level in zip(self.upsamplers, self._seen[1:], strict=True):
            seen.append(upsample(latents[level - 1]).to(seen[0].dtype))
        return cast(Tensor, self.decoder(torch.cat(seen, 1) if len(seen) > 1 else seen[0]))

    def _quantizer(self, level: int) -> Quantizer:
        return cast(Quantizer, self.quantizers[level])


def _project_and_attend(config: AutoencoderConfig, level: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """The 1x1 projection to D channels and the layer after it; the projected form is both in one."""
    wanted = {"all": True, "bottom": level == 1, "top": level == config.levels}[config.attention_levels]
    projection = nn.Conv2d(channels, config.code_dim, 1)
    if config.attention == "none" or not wanted:
        return projection, nn.Identity()
    filters = config.attention_dim or config.code_dim
    if config.attention == "wide":
        return projection, load(f"{ATTENTION}:PixelwiseControl", "attention")(config.code_dim, filters)
    layer = load(f"{ATTENTION}:ResidualPixelAttention", "attention")
    if config.attention_form == "projected":
        return nn.Identity(), layer(channels, config.code_dim, "projected", config.similarity)
    return projection, layer(config.code_dim, filters, "literal", config.similarity)
