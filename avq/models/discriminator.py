"""PatchGAN discriminators (arXiv 1611.07004, sec. 3.2.2): a grid of logits, each about one patch of an image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_SLOPE = 0.2
_LAYOUTS = {  # filters and strides of the convolutions, kernel, places of batch normalisation, dropout
    "sibling": ((128, 128, 128, 64, 64, 1), (2, 2, 2, 1, 1, 1), 3, (0, 1, 2, 3, 4, 5), 0.25),
    "pix2pix": ((64, 128, 256, 512, 1), (2, 2, 2, 1, 1), 4, (1, 2, 3), 0.0),
}


class PatchDiscriminator(nn.Module):
    """Convolutions (padding 1) with normalisation, LeakyReLU and dropout, down to one channel of logits.

    - `sibling`: the authors' sibling code's (arXiv 2309.13160): six 3x3 convolutions, batch normalisation after every
      one, dropout 0.25; 32x32 logits at 256, each of which sees 63 pixels a side. As the last convolution is normalised
      too, a batch of one kind has the same mean logit whatever it shows: put real and reconstructed images into one.
    - `pix2pix`: the usual one of 70x70 pixels (arXiv 1611.07004, appendix 6.1.2): five 4x4 convolutions, batch
      normalisation after the inner three; 30x30 logits at 256.

    With `spectral`, spectral normalisation of the weights (arXiv 1802.05957) takes the place of batch normalisation,
    which would undo it by dividing by the scale of its input.
    """

    def __init__(self, name: str, spectral: bool = False) -> None:
        super().__init__()
        filters, self._strides, self._kernel, normalised, dropout = _LAYOUTS[name]
        layers: list[nn.Module] = []
        for place, (before, after, stride) in enumerate(zip((3, *filters[:-1]), filters, self._strides, strict=True)):
            convolution = nn.Conv2d(before, after, self._kernel, stride, padding=1)
            layers.append(spectral_norm(convolution) if spectral else convolution)
            if place in normalised and not spectral:
                layers.append(nn.BatchNorm2d(after))
            if place < len(filters) - 1:
                layers += [nn.LeakyReLU(_SLOPE), *([nn.Dropout(dropout)] if dropout else [])]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, 1, h, w]` of images `[B, 3, H, W]` in [-1, 1]; high means real."""
        logits: Tensor = self.layers(images)
        return logits

    def logits_side(self, image_size: int) -> int:
        """Side of the grid of logits for images of that side in pixels; below 1 where they are too small."""
        side = image_size
        for stride in self._strides:
            side = (side + 2 - self._kernel) // stride + 1
        return side
