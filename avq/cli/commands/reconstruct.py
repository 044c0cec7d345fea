"""``avq-bench reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from avq.cli import options
from avq.cli.output import print_rows
from avq.errors import AvqError

if TYPE_CHECKING:
    from torch import Tensor

    from avq.models.tokenizer import Tokenizer

_PROBE = 256  # any side that all strides divide


def shipped_checkpoint() -> Path:
    """The small trained tokenizer that ships with the package; AvqError if this installation has none."""
    from avq.resources import resource_dir

    found = sorted(resource_dir("checkpoints").glob("*.safetensors"))
    if not found:
        raise AvqError("this installation ships no checkpoint; name one with --checkpoint")
    return found[0]


@click.command()
@click.argument("images", type=options.FILE, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--checkpoint",
    type=options.FILE,
    help="Trained tokenizer (.safetensors).  [default: the one that ships with avq-bench]",
)
@options.written("Picture to write.", "reconstruction.png")
@options.stacked(options.max_side, options.device, options.plugin, options.table_format)
def command(
    images: tuple[Path, ...], checkpoint: Path | None, output: Path, max_side: int, device: str, style: str
) -> None:
    """Draw each IMAGE beside its reconstruction, and print its errors and bits per pixel.

    Images of any size are turned upright, converted to RGB, and cropped about their centre to the model's
    stride. MAE is in [0, 1] units; bits per pixel are nominal and count the codes that the decoder sees.

    \b
    Examples:
      avq-bench reconstruct face.jpg
      avq-bench reconstruct *.png --checkpoint avq-runs/runs/RUN/checkpoint.safetensors -o all.png
    """
    import torch

    from avq import load_model
    from avq.cli import pictures
    from avq.data.loader import to_model, to_uint8
    from avq.metrics.codebook import nominal_rate
    from avq.training.precision import resolve_device

    pictures.check_picture(output)
    place = resolve_device(device)
    model = load_model(checkpoint or shipped_checkpoint()).to(place)
    multiple = model_stride(model)
    rows, pairs = [], []
    for path in images:
        original = pictures.open_framed(path, multiple, max_side).pixels
        batch = to_model(torch.from_numpy(original)[None], place)
        with torch.inference_mode():
            result = model(batch.clone())
        pairs.append((original, to_uint8(result.images)[0].cpu().numpy()))
        height, width = original.shape[:2]
        tokens = [level[0].numel() for level in result.codes]
        rate = round(nominal_rate(tokens, model.codebook_sizes, model.decoder_levels, height * width), 4)
        size = f"{width}x{height}"
        rows.append({"image": path, "size": size, **_errors(batch, result.images), "bits-per-pixel": rate or "n/a"})
    pictures.save_picture(pictures.side_by_side(pairs), output)
    print_rows(rows, style)
    click.echo(f"\nwrote {output}", err=style != "table")


def model_stride(model: Tokenizer) -> int:
    """Pixels per side of one code of the coarsest level; the images' sides must be multiples of it."""
    return _PROBE // min(map(min, model.latent_sizes(_PROBE)))


def _errors(original: Tensor, reconstruction: Tensor) -> dict[str, float]:
    from avq.metrics.error import MeanAbsoluteError, PeakSignalToNoise

    values = {}
    for metric, digits in ((MeanAbsoluteError(), 4), (PeakSignalToNoise(), 2)):
        metric.update(original, reconstruction, [])
        values[metric.name] = round(float(metric.values()[0]), digits)
    return values
