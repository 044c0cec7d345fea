"""Made-up long-form records, and contrasts between their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from avq.design.ablation import Contrast


def contrast(name: str, a: str, b: str, metric: str = "mae", level: int | None = None) -> Contrast:
    return Contrast(name=name, a=a, b=b, metric=metric, level=level)


def line(row: str, seed: int, metric: str, value: float | None, **more: object) -> dict[str, object]:
    """One record."""
    cell = {
        "row": row, "variant": row.split("[")[0], "dataset": "cifar10", "split": "test", "seed": seed,
        "level": None, "metric": metric, "protocol": f"{metric}.1:ref=abc;n=100", "value": value, "unit": "",
        "stderr": None, "n": 100, "status": "ok", "reason": "", "machine": "two cores",
        "run": f"{row}-s{seed}", "code": "0123",
    }  # fmt: skip
    return {**cell, **more}


def frame(lines: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """As `avq.store.record.typed` leaves it."""
    table = pd.DataFrame(lines)
    for name in ("seed", "level", "n"):
        table[name] = table[name].astype("float64").astype("Int64")
    for name in ("value", "stderr"):
        table[name] = table[name].astype("float64")
    return table


def maes(means: Mapping[str, float], sd: float | Mapping[str, float], seeds: int, rng: int = 0) -> pd.DataFrame:
    """MAE of rows with planted means and spreads between seeds."""
    generator = np.random.default_rng(rng)
    spreads = sd if isinstance(sd, Mapping) else dict.fromkeys(means, sd)
    return frame([
        line(row, seed, "mae", mean + spreads[row] * float(generator.standard_normal()))
        for row, mean in means.items()
        for seed in range(seeds)
    ])  # fmt: skip


def story(seeds: int = 3) -> pd.DataFrame:
    """A small ablation as it comes out of a store, with costs, levels and a failed run."""
    generator = np.random.default_rng(1)
    rows = {
        "vqvae": (0.0512, 1), "aren-1": (0.0466, 1), "aren-1-rpa": (0.0571, 1), "aren-1-rpa-mean": (0.0465, 1),
        "aren-2": (0.0462, 2), "aren-2-rpa-mean": (0.0460, 2), "patch-kmeans": (0.0596, 1),
    }  # fmt: skip
    lines = []
    for index, (row, (mean, levels)) in enumerate(rows.items()):
        for seed in range(seeds):
            if row == "aren-1-rpa" and seed == 2:
                why = "loss became NaN at step 410 (losses.reconstruction)"
                lines.append(line(row, seed, "mae", None, status="failed", reason=why, protocol=""))
                continue
            mae = mean + 0.0003 * float(generator.standard_normal())
            lines.append(line(row, seed, "mae", mae, stderr=0.0002))
            values = {"mae-sigma": 0.018, "psnr": 20 - 200 * (mae - 0.05), "bits-per-pixel": 0.5,
                      "bits-per-pixel-entropy": 0.47}  # fmt: skip
            lines += [line(row, seed, metric, value) for metric, value in values.items()]
            why = "the images have no mask of a second eye"
            lines.append(line(row, seed, "eye-mae", None, status="n/a", reason=why))
            for level in range(1, levels + 1):
                values = {"active-codes": 250 - 40 * level, "perplexity": 200 - 50 * level}
                values |= {"attention-gain": 0.84 * level} if "rpa" in row else {}
                lines += [line(row, seed, metric, value, level=level) for metric, value in values.items()]
                if row != "patch-kmeans":
                    lines.append(line(row, seed, "receptive-field", 32 * level, level=level, split=""))
            if row != "patch-kmeans":
                costs = {"params-trainable": 250_000.0 + 41_234 * index, "macs": 4.1e7 + 3e6 * index,
                         "train-images-per-s": 812.0 - 40 * index, "inference-images-per-s": 3100.0 - 90 * index,
                         "peak-memory": 712.0}  # fmt: skip
                lines += [line(row, seed, metric, value, split="") for metric, value in costs.items()]
                lines.append(line(row, seed, "training-time", 95.0 + index + seed, split="train"))
    return frame(lines)
