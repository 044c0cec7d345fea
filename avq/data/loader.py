"""Batches of a training set, and the conversion between stored images and the input of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avq.data.randomness import Stream, order, words

if TYPE_CHECKING:
    from avq.data.sources import ImageSet

EVALUATION_PIXELS = 2**18  # a batch of 256 images of 32x32: activations of a pass without gradients stay small
_CACHED_EPOCHS = 2  # a batch across the end of an epoch needs two orders


class Batches:
    """An endless sequence of batches, each a pure function of the seed and its number.

    Every epoch is a new permutation of all images; a batch may end one epoch and begin the next. A resumed run, which
    asks for the next number, so gets the same batches as an uninterrupted one. Ranks share each batch: any number of
    them have together the batch of a single one, in the same order.

    Args:
        images: the training set.
        batch_size: images per batch, over all ranks.
        seed: decides the orders and the flips.
        flip: mirror each image left to right with probability 1/2.
        rank: which share of each batch, from 0.
        ranks: how many shares; a divisor of the batch size.
        device: of the batches, and of mirroring; images are moved there as bytes.

    Raises:
        ValueError: no images, a batch size below 1, or one that the ranks cannot share.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        flip: bool,
        *,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1 or not len(images.images):
            raise ValueError(f"cannot make batches of {batch_size} from {len(images.images)} images")
        if batch_size % ranks or not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks} cannot have an equal share of batches of {batch_size}")
        self.images, self.device = images.images, device
        self.batch_size, self.seed, self.flip = batch_size, seed, flip
        share = batch_size // ranks
        self._share = slice(rank * share, (rank + 1) * share)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def batch(self, step: int) -> Tensor:
        """This rank's share of batch number ``step``, from 0: uint8 ``[batch_size / ranks, H, W, 3]``."""
        # index_select copies whole images; indexing by [] copies byte by byte, 20 times slower on a CPU.
        batch = self.images.index_select(0, torch.from_numpy(self.indices(step)[self._share])).to(self.device)
        if self.flip:
            coins = words(self.seed, Stream.FLIP, step, self.batch_size)[self._share] >> np.uint64(63)
            mirrored = torch.from_numpy(np.flatnonzero(coins)).to(self.device)
            batch.index_copy_(0, mirrored, batch.index_select(0, mirrored).flip(2))
        return batch

    def indices(self, step: int) -> NDArray[np.int64]:
        """The images of batch number ``step``, over all ranks: int64 ``[batch_size]``."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
        epochs, offsets = np.divmod(places, len(self.images))
        here = range(int(epochs[0]), int(epochs[-1]) + 1)
        return np.concatenate([self._order(epoch)[offsets[epochs == epoch]] for epoch in here])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            while len(self._orders) >= _CACHED_EPOCHS:
                del self._orders[next(iter(self._orders))]
            self._orders[epoch] = order(self.seed, Stream.ORDER, epoch, len(self.images))
        return self._orders[epoch]


def images_within(pixels: int, images: Tensor) -> int:
    """How many of the images ``[N, H, W, 3]`` have together at most that many pixels; at least 1."""
    return max(1, pixels // (images.shape[1] * images.shape[2]))


def to_model(batch: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Stored images, uint8 ``[B, H, W, 3]``, as models take them: float32 ``[B, 3, H, W]`` in [-1, 1], channels last.

    They are moved to the device as bytes.
    """
    images = batch.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return images.to(torch.float32, memory_format=torch.channels_last).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Model images, float ``[B, 3, H, W]``, as stored ones: uint8 ``[B, H, W, 3]``, clamped and rounded."""
    levels = images.detach().to(torch.float32).clamp(-1.0, 1.0).add(1.0).mul_(127.5).round_()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
