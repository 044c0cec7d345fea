"""Problems that the curve of a training shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avq.metrics.codebook import is_collapsed

DISCRIMINATOR_WON = "discriminator won outright"
_WON = 0.99  # share of correct logits, at which the model gains nothing against it


def remarks(rows: Sequence[Mapping[str, float]], codebook_sizes: Sequence[int], tokens: Sequence[int]) -> list[str]:
    """The problems that a curve (`History.rows`) shows, a line each.

    Codebook sizes and tokens of all validation images are per level, bottom first.

    - a collapsed codebook: at the last validation step, perplexity is close to 1 (as in `avq.metrics.codebook`);
    - a discriminator that won outright: 99 % of its logits are right throughout the curve's second half.
    """
    found = []
    for level, (codes, counted) in enumerate(zip(codebook_sizes, tokens, strict=True), start=1):
        perplexity = rows[-1].get(f"perplexity-{level}") if rows else None
        if perplexity is not None and is_collapsed(perplexity, codes, counted):
            found.append(f"collapsed codebook: level {level} has perplexity {perplexity:.2f} of {codes} at the end")
    second = [row["discriminator-accuracy"] for row in rows[len(rows) // 2 :] if "discriminator-accuracy" in row]
    if second and min(second) >= _WON:
        found.append(f"{DISCRIMINATOR_WON}: at least {100 * min(second):.1f} % of its logits are right")
    return found
