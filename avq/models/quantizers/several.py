"""What quantizers with several codes a position share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import nn

from avq.models.quantizers.flat import FlatQuantizer
from avq.models.quantizers.vq import VectorQuantizer


class SeveralCodes(FlatQuantizer):
    """R codes a position, of as many codebooks or of one that they share."""

    def __init__(self, parts: Sequence[VectorQuantizer], codes_per_position: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.codebook_size, self.codes_per_position = parts[0].codebook_size, codes_per_position

    def codebook_values(self) -> int:
        return sum(part.codebook_values() for part in self.all_parts())

    def all_parts(self) -> list[VectorQuantizer]:
        return cast(list[VectorQuantizer], list(self.parts))
