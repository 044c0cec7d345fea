"""Devices, and the precision that each computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from avq.errors import UsageError


def resolve_device(device: str = "auto") -> str:
    """The device to use: for "auto", CUDA where available. UsageError for one that is not available."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"unknown device '{device}'; use auto, cpu or cuda.") from error
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"device '{device}' is not supported; use auto, cpu or cuda.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available; use --device cpu.")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """float32 or bfloat16: "auto" is bfloat16 where the hardware supports it (AVX-512 bf16, Ampere)."""
    if precision != "auto":
        return precision
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def evaluation_precision(precision: str, image_size: int, device: str) -> str:
    """That of an evaluation: for "auto", float32 up to 64 px and above that what `resolve_precision` returns."""
    return "float32" if precision == "auto" and image_size <= 64 else resolve_precision(precision, device)


def autocast(precision: str, device: str) -> AbstractContextManager[None]:
    """The autocast of a resolved precision; disabled for float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
