"""A transposed convolution with a faster backward pass of its bias."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TransposedConvolution(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with the same values and gradients, but the bias's gradient is summed separately.

    oneDNN takes 7.6 ms for all gradients together but 5.6 without the bias's, which then takes 0.1 (VQ-VAE-2's decoder,
    4 x 128 x 32 x 32 to 64 channels, bfloat16, two cores).
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.bias is None or output_size is not None:
            return super().forward(x, output_size)
        assert isinstance(self.padding, tuple)
        out = F.conv_transpose2d(
            x, self.weight, self.bias.detach(), self.stride, self.padding, self.output_padding, self.groups,
            self.dilation,
        )  # fmt: skip
        return cast(Tensor, SumToBias.apply(out, self.bias))


class SumToBias(torch.autograd.Function):
    """The identity on feature maps whose bias is already added; backward computes the bias's gradient."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype
        ctx.mark_dirty(out)  # so that what comes next may work in place
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        maps = [dim for dim in range(grad.ndim) if dim != grad.ndim - 3]  # channels stay
        return grad, grad.sum(maps).to(ctx.dtype)
