"""Several codes a position: residual (arXiv 2203.01941, section 3.1) and product quantization (of groups of channels)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avq.errors import UsageError
from avq.models.collective import from_first
from avq.models.quantizers.base import Quantized, Quantizer
from avq.models.quantizers.flat import FlatQuantizer, projected, straight_through
from avq.models.quantizers.vq import VectorQuantizer

if TYPE_CHECKING:
    from avq.models.config import AutoencoderConfig
