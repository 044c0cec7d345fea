"""Contrasts, written short."""

from __future__ import annotations

from avq.design.ablation import Contrast


def contrast(name: str, a: str, b: str, metric: str = "mae", level: int | None = None) -> Contrast:
    return Contrast(name=name, a=a, b=b, metric=metric, level=level)
