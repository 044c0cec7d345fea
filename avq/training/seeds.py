"""One run seed, three independent streams: what the data order, the weights and the sampling draw from."""

from __future__ import annotations

from typing import Literal

import numpy as np

_STREAMS = ("initialisation", "data", "sampling")


def derive_seed(seed: int, stream: Literal["initialisation", "data", "sampling"]) -> int:
    """A 32-bit seed for one stream of a run; streams and runs do not overlap."""
    return int(np.random.SeedSequence([seed, _STREAMS.index(stream)]).generate_state(1)[0])
