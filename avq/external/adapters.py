"""Any Python object with `encode` and `decode` as a tokenizer that can be evaluated.

The contract, for `package.module:factory`:

- `encode(images)` takes float `[B, 3, H, W]` in `image_range` (of the dtype of its weights where it is a torch module,
  otherwise float32) and returns codes (an integer tensor `[B, h, w]` or `[B, T]`, or a list of them, bottom level
  first), or any other latents, which then have no rate;
- `decode(what encode returned)` returns images `[B, 3, H, W]` in `image_range`;
- `image_range`, optional: `(-1, 1)`, the default, or `(0, 1)`;
- `codebook_size`, optional: one number, or one per level; without it the rate is n/a;
- `decoder_levels`, optional: the levels (1 = bottom) that the decoder sees; by default all.

`diffusers.VQModel`, `diffusers.AutoencoderKL` and `pythae.models.VQVAE` are accepted as they are.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from torch import Tensor

from avq.errors import AvqError, UsageError
from avq.external import peers
from avq.models.full_precision import dtype_of
from avq.models.tokenizer import Reconstruction, Tokenizer

_ADDRESS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_WRONG_RANGE = 0.75  # the error falls below this share of its value when images are read in the other range
_FLAT = 0.05  # standard deviation: an untrained model's pictures, all of one grey, do not show their range


def is_address(text: str) -> bool:
    """Whether a text names a Python object, `package.module:name`, rather than a file."""
    return _ADDRESS.fullmatch(text) is not None and not text.endswith(".safetensors")


def load_object(address: str) -> Tokenizer:
    """What `package.module:name` names, or returns when called without arguments, as a tokenizer in eval mode.

    Modules in the current folder are found too, as with `python -m`. The object's own code runs.

    Raises:
        UsageError: it cannot be imported or made, or has no `encode` and `decode`; one line.
    """
    module, _, name = address.partition(":")
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = attrgetter(name)(importlib.import_module(module))
    except AttributeError as error:
        raise UsageError(f"'{module}' was imported, but has no '{name}' ({error})") from error
    except Exception as error:  # anything that a user's module raises
        raise UsageError(f"'{module}' cannot be imported: {type(error).__name__}: {error}") from error
    if isinstance(found, type) or not _is_tokenizer(found):
        if not callable(found):
            raise UsageError(f"{address} is a {type(found).__name__} without encode and decode")
        try:
            found = found()
        except Exception as error:  # anything that a user's factory raises
            raise UsageError(f"{address}() failed: {type(error).__name__}: {error}") from error
    return adapt(found, address)


def adapt(model: Any, name: str = "model") -> Tokenizer:
    """Any object that follows the contract above as a tokenizer; a `Tokenizer` stays itself.

    Args:
        model: the object; a `torch.nn.Module` is put into eval mode and moved with the tokenizer.
        name: what messages call it.

    Raises:
        UsageError: it does not follow the contract; one line.
    """
    if isinstance(model, Tokenizer):
        return model.eval()
    model = peers.as_known(model)
    if not _is_tokenizer(model):
        raise UsageError(f"{name} is a {type(model).__name__}, which lacks encode(images) or decode(codes)")
    return Adapted(model, name).eval()


def _is_tokenizer(candidate: Any) -> bool:
    return callable(getattr(candidate, "encode", None)) and callable(getattr(candidate, "decode", None))


class Adapted(Tokenizer):
    """An outside object as a tokenizer; see the head of this module. Errors as `adapt`."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name  # a torch module becomes part of this one
        self._unit = _is_unit(getattr(model, "image_range", (-1, 1)), name)
        self.codebook_sizes = _sizes(getattr(model, "codebook_size", getattr(model, "num_codes", None)), name)
        levels = range(1, len(self.codebook_sizes) + 1)
        seen = getattr(model, "decoder_levels", None)
        self.decoder_levels = list(levels if seen is None else seen)
        if not set(self.decoder_levels) <= set(levels):
            raise UsageError(f"{name}: decoder_levels {self.decoder_levels} do not fit {len(levels)} codebooks")
        self._range_checked = False
        self._single = True  # encode returns a tensor, not a list of them
        self._tails: list[tuple[int, ...]] = []  # sizes of each level's codes as encode returns them, but for the batch

    def forward(self, images: Tensor) -> Reconstruction:
        """Encode and decode; no codes if the object does not say how large its codebooks are."""
        latents, codes = self._encode(images)
        rebuilt = self._images(self._call(self.model.decode, latents), len(images))
        if rebuilt.shape != images.shape:
            raise AvqError(f"{self.name}: decode returned {list(rebuilt.shape)} for images {list(images.shape)}")
        self._check_range(images, rebuilt)
        return Reconstruction(rebuilt, codes, {})

    def encode(self, images: Tensor) -> list[Tensor]:
        return self._encode(images)[1]

    def _encode(self, images: Tensor) -> tuple[Any, list[Tensor]]:
        given = (images + 1) / 2 if self._unit else images.clone()  # which it may work on in place
        latents = self._call(self.model.encode, given.to(dtype_of(self)))
        return latents, self._codes(latents, len(images)) if self.codebook_sizes else []

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Images from codes as `encode` of this class returns them; call that first, since it learns the layout."""
        if not codes or len(codes) != len(self._tails):
            raise AvqError(f"{self.name}: no codes to decode images from")
        raw = [level.reshape(len(level), *tail) for level, tail in zip(codes, self._tails, strict=True)]
        return self._images(self._call(self.model.decode, raw[0] if self._single else raw), len(codes[0]))

    def _call(self, method: Callable[[Any], Any], value: Any) -> Any:
        try:
            return method(value)
        except Exception as error:  # anything that a user's object raises
            shown = f" {list(value.shape)}" if isinstance(value, Tensor) else ""
            reason = f"{type(error).__name__}: {error}"
            raise AvqError(f"{self.name}: {method.__name__} failed on{shown or ' codes'}: {reason}") from error

    def _codes(self, latents: Any, batch: int) -> list[Tensor]:
        said, count = f"{self.name}: encode returned", len(self.codebook_sizes)
        levels = [latents] if isinstance(latents, Tensor) else latents
        if not isinstance(levels, list | tuple) or not all(isinstance(level, Tensor) for level in levels):
            raise AvqError(f"{said} {_shown(latents)}; codes are an integer tensor, or a list of them")
        if len(levels) != count:
            raise AvqError(f"{said} {len(levels)} levels, but codebook_size has {count}")
        for level in levels:
            if level.is_floating_point() or level.ndim not in (2, 3) or len(level) != batch:
                raise AvqError(f"{said} {_shown(level)}; codes are integers [{batch}, h, w] or [{batch}, T]")
        self._single = isinstance(latents, Tensor)
        self._tails = [tuple(level.shape[1:]) for level in levels]
        return [level.long().reshape(batch, -1, level.shape[-1]).clone() for level in levels]

    def _images(self, rebuilt: Any, batch: int) -> Tensor:
        if not isinstance(rebuilt, Tensor) or not rebuilt.is_floating_point() or rebuilt.ndim != 4:
            raise AvqError(
                f"{self.name}: decode returned {_shown(rebuilt)}; images are a float tensor [{batch}, 3, H, W]"
            )
        return rebuilt.float() * 2 - 1 if self._unit else rebuilt.float()

    def _check_range(self, images: Tensor, rebuilt: Tensor) -> None:
        """A mistake that leaves the numbers plausible: images in [0, 1] that are read as [-1, 1], or the reverse."""
        if self._range_checked:
            return
        self._range_checked = True
        raw = (rebuilt + 1) / 2 if self._unit else rebuilt
        other = raw if self._unit else raw * 2 - 1
        possible = (self._unit or raw.min().item() >= -0.1) and raw.std().item() > _FLAT
        if possible and (images - other).abs().mean() < _WRONG_RANGE * (images - rebuilt).abs().mean():
            said, meant = ("(0, 1)", "(-1, 1)") if self._unit else ("(-1, 1)", "(0, 1)")
            raise AvqError(
                f"{self.name}: its images are far nearer to the originals when read in {meant} than in {said}: "
                f"set image_range = {meant} on the object"
            )


def _is_unit(image_range: Any, name: str) -> bool:
    known = {(-1.0, 1.0): False, (0.0, 1.0): True}
    try:
        return known[tuple(float(end) for end in image_range)]  # type: ignore[index]
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"{name}: image_range is {image_range!r}; it must be (-1, 1) or (0, 1)") from None


def _sizes(codebook_size: Any, name: str) -> list[int]:
    """Codebook sizes per level; none if the object does not say."""
    if codebook_size is None:
        return []
    try:
        sizes = [int(size) for size in (codebook_size if isinstance(codebook_size, list | tuple) else [codebook_size])]
    except (TypeError, ValueError):
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UsageError(f"{name}: codebook_size is {codebook_size!r}; it takes one number, or one per level")
    return sizes


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return f"a {type(value).__name__}"
