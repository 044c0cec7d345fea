"""Residual blocks of the AREN trunk (arXiv 2309.11641, fig. 2) and of VQ-VAE (arXiv 1711.00937, sec. 4.1).

What a convolution gives is activated and added to in place: no gradient needs it as it was.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.convolution import TransposedConvolution


def _convolution(block: str, in_channels: int, layer: nn.Module) -> nn.Module:
    """A convolution, preceded in block generation v2 by batch normalisation and ReLU."""
    return layer if block == "v1" else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), layer)


class _TwoConvolutions(nn.Module):
    """first -> ReLU (v1 only; v2 activates before each convolution) -> second."""

    def __init__(self, block: str, channels: int, width: int, first: nn.Module) -> None:
        super().__init__()
        self.first = _convolution(block, channels, first)
        self.second = _convolution(block, width, nn.Conv2d(width, width, 3, padding=1))
        self.activate = block == "v1"

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        out: Tensor = self.second(F.relu(h, inplace=True) if self.activate else h)
        return out


class IdResBlock(nn.Module):
    """Id-ResBlock: the last convolution's output is added to the input; the shape stays `[B, C, H, W]`."""

    recomputable = True

    def __init__(self, width: int, block: str = "v1") -> None:
        super().__init__()
        self.body = _TwoConvolutions(block, width, width, nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.add_(x)


class ConvResBlock(nn.Module):
    """Conv-ResBlock: halves height and width by stride-2 convolutions on the main and the skip path.

    The skip's 2x2 kernel is this suite's choice: with stride 2 it sees every pixel once.
    """

    recomputable = True

    def __init__(self, in_channels: int, width: int, block: str = "v1") -> None:
        super().__init__()
        self.body = _TwoConvolutions(block, in_channels, width, nn.Conv2d(in_channels, width, 3, 2, padding=1))
        self.skip = nn.Conv2d(in_channels, width, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.add_(self.skip(x))


class TransposedResBlock(nn.Module):
    """The mirror of `ConvResBlock`: doubles height and width by transposed convolutions."""

    recomputable = True

    def __init__(self, width: int, block: str = "v1") -> None:
        super().__init__()
        up = TransposedConvolution(width, width, 4, 2, padding=1)
        self.body = _TwoConvolutions(block, width, width, up)
        self.skip = TransposedConvolution(width, width, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.add_(self.skip(x))


class BottleneckResBlock(nn.Module):
    """VQ-VAE's residual block: x + conv1x1(ReLU(conv3x3(ReLU(x))))."""

    recomputable = True

    def __init__(self, width: int, residual_width: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(width, residual_width, 3, padding=1)
        self.conv1 = nn.Conv2d(residual_width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv1(F.relu(self.conv3(F.relu(x)), inplace=True))
        return out.add_(x)
