"""A folder of image files as one set: names, formats and sizes from the headers; pixels only when needed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from avq.errors import UsageError, reason_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_THREADS = 4
_ORIENTATION = 0x0112
_PLAIN_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "PA", "1"})
_GREY_MODES = frozenset({"L", "LA", "1"})


@dataclass(frozen=True)
class Header:
    """What a file says of itself; `kind` is the format of its bytes, whatever its suffix says."""

    kind: str
    size: tuple[int, int]
    grey: bool
    lossy: bool


class FolderImages:
    """The images below a folder by name: the path inside the folder without its suffix, in sorted order.

    Hidden files and files without an image suffix do not count.

    Args:
        folder: where they are.
        role: "originals" or "reconstructions".
        allow_lossy: accept reconstructions in a lossy format.

    Raises:
        UsageError: no images; two files of one name; files that are damaged, animated, deeper than 8 bits, or in
            a colour space other than RGB or grey; images of several sizes; lossy reconstructions.
    """

    eight_bit = True

    def __init__(self, folder: Path, role: str, allow_lossy: bool) -> None:
        self.role, self.label = role, f"{role} {folder}"
        self.paths = _by_name(folder, self.label)
        self.names = list(self.paths)
        with ThreadPoolExecutor(_THREADS) as pool:
            self.headers = dict(zip(self.paths, pool.map(_header, self.paths.values()), strict=True))
        self.lossy = {name for name, header in self.headers.items() if header.lossy}
        self.grey = {name for name, header in self.headers.items() if header.grey}
        self.size = self._one_size()
        self.notes = self._check_formats(allow_lossy) if self.lossy else []

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, size: int) -> Generator[Tensor, None, None]:
        paths = list(self.paths.values())
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(paths), size):
                yield torch.from_numpy(np.stack(list(pool.map(self._pixels, paths[start : start + size]))))

    def _one_size(self) -> tuple[int, int]:
        sizes = Counter(header.size for header in self.headers.values())
        (common, count), *others = sizes.most_common()
        if others:
            odd = next(name for name, header in self.headers.items() if header.size != common)
            height, width = self.headers[odd].size
            raise UsageError(
                f"{self.label} has images of {len(sizes)} sizes: {count:,} are {common[1]}x{common[0]}, "
                f"{sum(n for _, n in others):,} are not, the first {self.paths[odd].name} ({width}x{height})"
            )
        return common

    def _check_formats(self, allow_lossy: bool) -> list[str]:
        """A note on lossy files.

        A JPEG of a reconstruction measures the JPEG too, so it is refused unless the user wants just that. An
        original may well be a JPEG: most data sets consist of them.
        """
        kinds = " and ".join(sorted({self.headers[name].kind for name in self.lossy}))
        many = f"{len(self.lossy):,} of {len(self):,} {self.role} are {kinds} files"
        if self.role == "originals":
            return [f"{many}: right where the model saw these very pixels, wrong where they were saved after it"]
        if not allow_lossy:
            raise UsageError(
                f"{many}, the first {self.paths[min(self.lossy)].name}: their compression would be measured with "
                "the model; save PNG, or accept it with --allow-lossy, which marks the rows"
            )
        return [f"{many}: what their compression lost is measured with what the model lost"]

    def _pixels(self, path: Path) -> NDArray[np.uint8]:
        with _opened(path) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                if image.getchannel("A").getextrema() != (255, 255):
                    raise UsageError(f"{path} is partly transparent; put it on a background first, as the model saw it")
            pixels = np.asarray(image.convert("RGB"))
        if pixels.shape[:2] != self.size:
            raise UsageError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]} once decoded, unlike the others")
        return pixels


def _by_name(folder: Path, label: str) -> dict[str, Path]:
    names: dict[str, Path] = {}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        inside = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in inside.parts):
            continue
        name = inside.with_suffix("").as_posix()
        if name in names:
            raise UsageError(f"{label} has two images called '{name}': {names[name].name} and {path.name}")
        names[name] = path
    if not names:
        other = f"; it holds {len(files):,} other files, such as {files[0].name}" if files else ""
        raise UsageError(f"no image ({', '.join(sorted(SUFFIXES))}) in {label}{other}")
    return dict(sorted(names.items()))


def _header(path: Path) -> Header:
    with _opened(path) as image:
        with path.open("rb") as file:
            start = file.read(32)
        kind = image.format or "unknown"
        if kind == "PNG" and start[24:25] == b"\x10":  # Pillow reads 16-bit colour as 8 bits without warning
            raise UsageError(f"{path} has 16 bits a channel; save both sides as 8-bit PNG, or as float arrays")
        if image.mode not in _PLAIN_MODES:
            raise UsageError(f"{path} is of mode {image.mode}; save 8-bit RGB or grey")
        if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise UsageError(f"{path} is animated; save one picture a file")
        width, height = image.size
        if kind in ("JPEG", "MPO") and image.getexif().get(_ORIENTATION, 1) > 4:
            width, height = height, width  # quarter turns; reading a PNG's tag means decoding it, which comes later
        lossy = kind in ("JPEG", "MPO") or (kind == "WEBP" and start[12:16] != b"VP8L")
        return Header(kind, (height, width), image.mode in _GREY_MODES, lossy)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image file; what decoders raise on damaged bytes becomes one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except UsageError:
        raise
    except UnidentifiedImageError:
        raise UsageError(f"{path} is not an image that Pillow reads") from None
    except Exception as error:
        raise UsageError(f"{path} is damaged or cannot be read: {reason_of(error)}") from None
