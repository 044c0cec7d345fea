"""What the curve of a training shows to have gone wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avq.metrics.codebook import COLLAPSED_BELOW

DISCRIMINATOR_WON = "discriminator won outright"
_WON = 0.99  # share of logits right: the model gains nothing against it


def remarks(rows: Sequence[Mapping[str, float]], codebook_sizes: Sequence[int]) -> list[str]:
    """What a curve shows to have gone wrong, by name, a line each; [] for a sound one.

    - a collapsed codebook: at the last point, perplexity is next to 1 (as `avq.metrics.codebook` has it);
    - a discriminator that won outright: at every point of the curve's second half, 99 % of its logits are right.

    Args:
        rows: `History.rows`.
        codebook_sizes: codebook size a level, bottom first.
    """
    found = []
    for level, codes in enumerate(codebook_sizes, start=1):
        perplexity = rows[-1].get(f"perplexity-{level}") if rows else None
        if perplexity is not None and perplexity < 1 + COLLAPSED_BELOW * codes:
            found.append(f"collapsed codebook: level {level} has perplexity {perplexity:.2f} of {codes} at the end")
    second = [row["discriminator-accuracy"] for row in rows[len(rows) // 2 :] if "discriminator-accuracy" in row]
    if second and min(second) >= _WON:
        found.append(f"{DISCRIMINATOR_WON}: at least {100 * min(second):.1f} % of its logits are right")
    return found
