"""Exact attention with memory linear in the number of pixels: in tiles, or by torch's fused kernels.

A sigmoid weight depends only on its own logit, so the N x N matrix is cut both ways and partial results are added up; a
softmax needs whole rows, so it is cut into bands of them. Backward recomputes the weights (as in arXiv 2205.14135), so
that only the inputs are saved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

TILE = 2**16
"""Weights per tile: 256 KiB in float32, so that a tile and its gradient stay in a core's cache."""
COLUMNS = 256
BAND = 2**17
"""Weights per band of whole rows."""
LEAST_ROWS = 32
"""Matrix products of fewer rows are slow; beyond 4,096 pixels a band therefore grows with N."""
_FUSED_WIDTH = 256  # most channels that the fused CUDA kernels take
_ALIGNMENT = 8


def fits_a_tile(pixels: int) -> bool:
    """Whether an image's N x N weights are one tile, so that cutting them would save nothing."""
    return pixels * pixels <= TILE


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, similarity: str) -> Tensor:
    """W v with memory linear in N; arguments as those of `avq.models.attention.attend`.

    A softmax takes `scaled_dot_product_attention`, except on a CPU where padding the keys to the values' width would at
    least double them: there, bands of rows are faster.
    """
    queries, keys, values = queries.contiguous(), keys.contiguous(), values.contiguous()
    narrow = 2 * keys.shape[-1] <= values.shape[-1]
    if similarity == "softmax" and not (narrow and values.device.type == "cpu"):
        return _fused(queries, keys, values)
    out: Tensor = _tiled(queries, keys, values, similarity)
    return out


def _fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention by a fused kernel, with keys padded to the values' width and wide values split.

    Where the widths differ, torch on a CPU takes a kernel that builds the N x N matrix.
    """
    pieces = torch.split(values, _FUSED_WIDTH, -1) if keys.shape[-1] <= _FUSED_WIDTH else (values,)
    results = []
    for piece in pieces:
        width = -(-max(keys.shape[-1], piece.shape[-1]) // _ALIGNMENT) * _ALIGNMENT
        q, k, v = (F.pad(x, (0, width - x.shape[-1])).unsqueeze(1) for x in (queries, keys, piece))
        out = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        results.append(out.squeeze(1)[..., : piece.shape[-1]])
    return torch.cat(results, -1) if len(results) > 1 else results[0]


# Tracing would unroll the loop over tiles. Unlike `torch.compiler.disable`, this imports the compiler (one second) only
# at the first call.
@_disable_dynamo
def _tiled(queries: Tensor, keys: Tensor, values: Tensor, similarity: str) -> Tensor:
    out: Tensor = TiledAttention.apply(queries, keys, values, similarity)
    return out


class TiledAttention(torch.autograd.Function):
    """W v in tiles. Queries and keys `[B, N, c]`, values `[B, N, C]`, contiguous, float32 or float64."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, similarity: str) -> Tensor:
        ctx.save_for_backward(queries, keys, values)
        ctx.similarity = similarity
        scale, bias = _scale_and_bias(similarity, keys.shape[1])
        out = torch.empty_like(values)
        room = _room(keys, similarity)
        for query, key, value, result in zip(queries, keys, values, out, strict=True):
            for rows, columns in _tiles(len(key), similarity):
                weights = _weights(query[rows], key[columns], similarity, bias, room)
                _add(result[rows], weights, value[columns], scale, columns.start == 0)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        inputs: tuple[Tensor, Tensor, Tensor] = ctx.saved_tensors
        scale, bias = _scale_and_bias(ctx.similarity, grad.shape[1])
        grads = torch.empty_like(inputs[0]), torch.empty_like(inputs[1]), torch.empty_like(inputs[2])
        images = zip(*inputs, *grads, grad.contiguous(), strict=True)
        room, more_room = _room(inputs[1], ctx.similarity), _room(inputs[1], ctx.similarity)
        with torch.autocast(grad.device.type, enabled=False):
            for query, key, value, to_query, to_key, to_value, slope in images:
                for rows, columns in _tiles(len(key), ctx.similarity):
                    weights = _weights(query[rows], key[columns], ctx.similarity, bias, room)
                    _add(to_value[columns], weights.mT, slope[rows], scale, rows.start == 0)
                    to_weights = _product(slope[rows], value[columns], more_room)
                    logits = _to_logits(to_weights, weights, ctx.similarity)
                    _add(to_query[rows], logits, key[columns], scale, columns.start == 0)
                    _add(to_key[columns], logits.mT, query[rows], scale, rows.start == 0)
        return *grads, None


def _add(total: Tensor, left: Tensor, right: Tensor, scale: float, first: bool) -> None:
    """Add a product to a sum in place; the first product overwrites it."""
    # Not `addmm_`, which torch's FLOP counter does not count
    torch.addmm(total, left, right, beta=0 if first else 1, alpha=scale, out=total)


def _scale_and_bias(similarity: str, pixels: int) -> tuple[float, float]:
    """The factor of the weights and the bias of the logits."""
    return 1 / pixels if similarity == "sigmoid-mean" else 1, -math.log(pixels) if similarity == "sigmoid-bias" else 0


def _shape(pixels: int, similarity: str) -> tuple[int, int]:
    """Rows and columns of a tile."""
    softmax = similarity == "softmax"
    columns = pixels if softmax else min(pixels, COLUMNS)
    return min(pixels, max(LEAST_ROWS, (BAND if softmax else TILE) // columns)), columns


def _tiles(pixels: int, similarity: str) -> Iterator[tuple[slice, slice]]:
    rows, columns = _shape(pixels, similarity)
    for row in range(0, pixels, rows):
        for column in range(0, pixels, columns):
            yield slice(row, row + rows), slice(column, column + columns)


def _room(keys: Tensor, similarity: str) -> Tensor:
    """Memory for one tile, reused by all."""
    rows, columns = _shape(keys.shape[1], similarity)
    return keys.new_empty(rows * columns)


def _product(left: Tensor, right: Tensor, room: Tensor) -> Tensor:
    """left right^T, in the memory of `room`."""
    shape = len(left), len(right)
    return torch.mm(left, right.mT, out=room[: shape[0] * shape[1]].view(shape))


def _weights(queries: Tensor, keys: Tensor, similarity: str, bias: float, room: Tensor) -> Tensor:
    """A tile of weights before scaling, from rows of queries and keys, in the memory of `room`."""
    logits = _product(queries, keys, room)
    if similarity == "softmax":
        return torch.softmax(logits, -1, out=logits)
    return (logits.add_(bias) if bias else logits).sigmoid_()


def _to_logits(grad: Tensor, weights: Tensor, similarity: str) -> Tensor:
    """The gradient of the logits from that of the weights, in the latter's memory."""
    if similarity == "softmax":
        torch.ops.aten._softmax_backward_data.out(grad, weights, -1, grad.dtype, grad_input=grad)
    else:
        torch.ops.aten.sigmoid_backward.grad_input(grad, weights, grad_input=grad)
    return grad
