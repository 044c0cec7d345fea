"""Rows on equal terms: codes per level for equal bits, steps for equal training FLOPs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from avq.design.rows import Row
from avq.design.settings import Setting
from avq.errors import UsageError

if TYPE_CHECKING:
    from avq.models.tokenizer import Tokenizer


def match_rows(rows: Sequence[Row], everything: Sequence[Row], reference: str | None) -> list[Row]:
    """The rows with `match` carried out.

    Args:
        rows: those that will run.
        everything: all rows of the ablation, the reference among them.
        reference: label of the row to match; the first of `everything` where None.

    Raises:
        UsageError: a row whose bits cannot be matched.
    """
    base = next(row for row in everything if reference in (None, row.label))
    return [_matched(row, base) if row.label != base.label else row for row in rows]


def _matched(row: Row, base: Row) -> Row:
    origin = f"match {row.match} ({base.label})"
    if row.match == "bits":
        if "codebook_size" not in row.model:
            raise UsageError(f"row {row.label}: {row.variant} has no codebook_size to set; leave match = 'bits' out.")
        codes = codes_for_bits(decoder_tokens(row), nominal_bits(base), row.label)
        settings, model = row.settings | {"codebook_size": Setting(codes, origin)}, row.model | {"codebook_size": codes}
        matched = replace(row, settings=settings, model=model)
        if set(_model(matched).codebook_sizes) != {codes}:
            line = f"row {row.label}: codebook_size does not set the codes of its quantizer"
            raise UsageError(f"{line}; leave match = 'bits' out.")
        return matched
    if row.match == "train-flops" and row.settings.keys() & {"backbone"} and base.settings.keys() & {"backbone"}:
        images = base.settings["steps"].value * base.settings["batch_size"].value * macs(base) / macs(row)
        steps = max(1, round(images / row.settings["batch_size"].value))
        return replace(row, settings=row.settings | {"steps": Setting(steps, origin)})
    return row


def codes_for_bits(tokens: int, bits: float, label: str) -> int:
    """K with `tokens * log2 K` nearest to `bits`.

    Args:
        tokens: codes an image that the decoder sees.
        bits: nominal bits an image.
        label: named in the error.

    Raises:
        UsageError: there is no K of at least 2.
    """
    codes = round(2 ** (bits / tokens)) if bits / tokens < 24 else 0
    if codes < 2:
        raise UsageError(
            f"row {label}: {tokens} codes an image cannot carry {bits:.0f} bits; leave match = 'bits' out."
        )
    return codes


def decoder_tokens(row: Row) -> int:
    """Codes an image, counting the levels that the decoder sees."""
    model = _model(row)
    sizes = model.latent_sizes(_image_size(row))
    return sum(math.prod(sizes[level - 1]) for level in model.decoder_levels) * model.codes_per_position


def nominal_bits(row: Row) -> float:
    """Nominal bits an image: tokens x log2 K over the levels that the decoder sees; 0 for a model without codes."""
    model = _model(row)
    sizes = model.latent_sizes(_image_size(row))
    bits = [math.prod(sizes[level - 1]) * math.log2(model.codebook_sizes[level - 1]) for level in model.decoder_levels]
    return sum(bits) * model.codes_per_position


def _model(row: Row) -> Tokenizer:
    """The row's model: without memory, but for one that must encode an image to know its latent sizes."""
    from avq.models.tokenizer import Tokenizer
    from avq.models.zoo import build_from_config

    model = meta_model(row)
    if type(model).latent_sizes is not Tokenizer.latent_sizes:
        return model
    return build_from_config(row.variant, _image_size(row), row.model).eval()


def macs(row: Row) -> int:
    """Multiply-accumulates to reconstruct one image."""
    import torch

    from avq.models.zoo import build_from_config
    from avq.profiling.meters import macs as count

    size = _image_size(row)
    model = build_from_config(row.variant, size, row.model).eval()
    with torch.no_grad():
        return count(lambda: model(torch.zeros(1, 3, size, size)))


def meta_model(row: Row) -> Tokenizer:
    """The row's model without memory or numbers. UsageError where its image size does not fit."""
    import torch

    from avq.models.zoo import build_from_config

    try:
        with torch.device("meta"):
            return build_from_config(row.variant, _image_size(row), row.model)
    except UsageError as error:
        raise UsageError(f"row {row.label}: {error}") from None


def _image_size(row: Row) -> int:
    from avq.data.cards import get_card

    return int(row.settings["image_size"].value or get_card(row.settings["dataset"].value).default_size)
