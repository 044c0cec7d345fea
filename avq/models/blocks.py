"""Residual blocks of the AREN backbone (arXiv 2309.11641, fig. 2) and of VQ-VAE (arXiv 1711.00937, sec. 4.1).

Outputs of convolutions are activated and added to in place: no gradient needs their first values.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avq.models.convolution import TransposedConvolution


class _TwoConvolutions(nn.Module):
    """first -> ReLU -> a 3x3 convolution (v1), or batch normalisation and ReLU before each convolution (v2)."""

    def __init__(self, block: str, channels: int, width: int, first: nn.Module) -> None:
        super().__init__()
        self.activate = block == "v1"
        self.first = first if self.activate else _after_activation(channels, first)
        second = nn.Conv2d(width, width, 3, padding=1)
        self.second = second if self.activate else _after_activation(width, second)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        out: Tensor = self.second(F.relu(h, inplace=True) if self.activate else h)
        return out


def _after_activation(channels: int, convolution: nn.Module) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), convolution)


class _ResBlock(nn.Module):
    """body(x) + skip(x)."""

    recomputable = True

    def __init__(self, body: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.body, self.skip = body, skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.add_(self.skip(x))


class IdResBlock(_ResBlock):
    """Id-ResBlock: the last convolution's output is added to the input; the shape stays `[B, C, H, W]`."""

    def __init__(self, width: int, block: str = "v1") -> None:
        first = nn.Conv2d(width, width, 3, padding=1)
        super().__init__(_TwoConvolutions(block, width, width, first), nn.Identity())


class ConvResBlock(_ResBlock):
    """Conv-ResBlock: halves height and width by stride-2 convolutions on the main and the skip path.

    The skip's 2x2 kernel is this suite's choice: with stride 2 it sees every pixel once.
    """

    def __init__(self, in_channels: int, width: int, block: str = "v1") -> None:
        first = nn.Conv2d(in_channels, width, 3, 2, padding=1)
        super().__init__(_TwoConvolutions(block, in_channels, width, first), nn.Conv2d(in_channels, width, 2, 2))


class TransposedResBlock(_ResBlock):
    """The mirror of `ConvResBlock`: doubles height and width by transposed convolutions."""

    def __init__(self, width: int, block: str = "v1") -> None:
        first = TransposedConvolution(width, width, 4, 2, padding=1)
        super().__init__(_TwoConvolutions(block, width, width, first), TransposedConvolution(width, width, 2, 2))


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
