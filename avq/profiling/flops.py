"""FLOPs of operators: torch's formulas, and those of what torch (2.14) does not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count, shape_wrapper


def _fused(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _fused_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))  # type: ignore[no-untyped-call]


# By shapes. torch counts its fused attention on CUDA devices only; on a CPU it would cost nothing.
UNKNOWN_TO_TORCH: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward,
}

# By tensors. torch counts no product that is added in place.
_FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm],
    **{operator: shape_wrapper(formula) for operator, formula in UNKNOWN_TO_TORCH.items()},  # type: ignore[no-untyped-call]
}


def operator_flops(operator: Any, args: Any, kwargs: Any, result: Any) -> int:
    """FLOPs of one call of an ATen operator (an overload): of matrix products and convolutions, else 0."""
    formula = _FORMULAS.get(operator._overloadpacket)
    return int(formula(*args, **kwargs, out_val=result)) if formula else 0
