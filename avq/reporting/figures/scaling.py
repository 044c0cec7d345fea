"""How the memory of attention grows with the latent, where records have it (`avq-bench scale`)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import seaborn as sns

from avq.reporting.figures.style import Picture, axes_of, drawing

METRIC, AXIS = "attention-memory", "latent_size"


def attention_memory(long: pd.DataFrame) -> Picture | None:
    """Memory of one attention layer against the side of its latent, both by powers of two; a line a kind of layer.

    Dots are measured, medians over repeats; the slope in the legend is fitted to them: 4 is a matrix over all
    pairs of pixels, 2 is linear in pixels. None where the records have fewer than two latent sizes.
    """
    measured = long[(long["metric"] == METRIC) & (long["status"] == "ok") & long["value"].gt(0)]
    if AXIS not in measured or measured[AXIS].nunique() < 2:
        return None
    others = [name for name in axes_of(measured) if name != AXIS]
    kinds = measured[others].astype(str).agg(", ".join, axis=1) if others else pd.Series("", index=measured.index)
    table = measured.assign(side=measured[AXIS].astype(float), kind=kinds)
    unit = next((str(unit) for unit in table["unit"] if unit), "")
    groups = [(str(kind), part.groupby("side")["value"].median()) for kind, part in table.groupby("kind", sort=False)]
    words = []
    with drawing(3.2 + 0.2 * len(groups)) as figure:
        axes = figure.subplots()
        for (kind, line), color in zip(groups, sns.color_palette("deep", len(groups)), strict=True):
            slope = float(np.polyfit(np.log(line.index), np.log(line), 1)[0]) if len(line) > 1 else math.nan
            fitted = "" if math.isnan(slope) else f"grows with side^{slope:.1f}"
            label = ": ".join(part for part in (kind, fitted) if part)
            axes.plot(line.index, line, "o-", color=color, label=label, markersize=5)
            words.append(f"{label}, {line.iloc[-1]:.4g} {unit} at {line.index[-1]:.0f}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        sides = sorted(table["side"].unique())
        axes.set_xticks(sides, [f"{side:.0f}" for side in sides])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("side of the latent, pixels")
        axes.set_ylabel(f"attention memory{f', {unit}' if unit else ''}")
        figure.legend(loc="outside lower center", fontsize=8.5)
    return Picture(figure, f"Memory of attention against the side of the latent. {'; '.join(words)}.")
