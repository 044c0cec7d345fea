"""The quantizer: nearest codes, the straight-through gradient, beta, the EMA codebook and restarts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from avq.models.quantizers import vq
from avq.models.quantizers.kmeans import cluster_sums, kmeans
from avq.models.quantizers.nearest import _argmax, nearest_codes
from avq.models.quantizers.vq import VectorQuantizer


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 12), st.integers(0, 9))
@settings(max_examples=40)
def test_codes_are_a_float64_searchs_wherever_the_margin_exceeds_rounding(n: int, k: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors, codebook = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    distances = torch.cdist(vectors.double(), codebook.double()).square()
    best = distances.min(1).values
    chosen = distances.gather(1, nearest_codes(vectors, codebook)[:, None])[:, 0]
    assert (chosen - best).max() < 1e-4


@pytest.mark.parametrize("codebook_size", [1024, 1000, 8192])
def test_codes_of_a_large_codebook_are_those_of_a_float64_search(codebook_size: int) -> None:
    """The very same code wherever the two nearest differ by more than rounding."""
    generator = torch.Generator().manual_seed(0)
    vectors, codebook = (torch.randn(n, 64, generator=generator) for n in (700, codebook_size))
    distances = torch.cdist(vectors.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    nearest, second = distances.topk(2, dim=1, largest=False).values.T
    clear = second - nearest > 1e-5 * (vectors.double().square().sum(1) + codebook.double().square().sum(1).max())
    assert clear.double().mean() > 0.9
    assert (nearest_codes(vectors, codebook) == distances.argmin(1))[clear].all()


@given(st.integers(1, 20), st.integers(1, 600), st.integers(0, 9))
@settings(max_examples=60)
def test_the_first_of_equal_scores_is_taken(rows: int, columns: int, seed: int) -> None:
    scores = torch.randint(5, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    first = [row.index(max(row)) for row in scores.tolist()]
    assert _argmax(scores).tolist() == first


@pytest.mark.parametrize("decay", [0.99, None])
def test_it_stays_right_when_compiled(decay: float | None) -> None:
    """Traced without a break; codes, gradients and statistics are those of eager mode."""
    outcomes = []
    for compiled in (False, True):
        torch.manual_seed(0)
        quantizer = VectorQuantizer(32, 4, decay, dead_code_reset=False)
        call = torch.compile(quantizer, backend="aot_eager", fullgraph=True) if compiled else quantizer
        z = torch.randn(2, 4, 16, 16, requires_grad=True)
        result = call(z)
        (result.latents.square().sum() + result.loss).backward()
        learned = quantizer.state_dict() if decay else {"gradient": quantizer.codebook.grad}
        outcomes.append([result.latents, result.codes, result.loss, z.grad, *learned.values()])
    for eager, traced in zip(*outcomes, strict=True):
        torch.testing.assert_close(traced, eager)


def test_a_large_common_offset_costs_no_digits() -> None:
    """As in the raw sigmoid's latents, whose mean may be thousands of times their spread."""
    generator = torch.Generator().manual_seed(0)
    vectors, codebook = (torch.randn(n, 16, generator=generator) + 4096 for n in (2000, 64))
    exact = torch.cdist(vectors.double(), codebook.double()).argmin(1)
    assert (nearest_codes(vectors, codebook) == exact).all()


def test_tiles_do_not_change_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codebook = torch.randn(5000, 8), torch.randn(64, 8)
    whole = nearest_codes(vectors, codebook)
    monkeypatch.setattr("avq.models.quantizers.nearest.TILE_VALUES", 1)
    assert torch.equal(nearest_codes(vectors, codebook), whole)


def test_the_gradient_passes_straight_through() -> None:
    quantizer = VectorQuantizer(8, 4, ema_decay=0.99, commitment=0.0)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    weights = torch.randn(2, 4, 3, 3)
    (quantizer(z).latents * weights).sum().backward()
    assert torch.equal(z.grad, weights)


def test_beta_stands_on_the_term_that_moves_the_encoder() -> None:
    """d loss / dz = beta * 2 (z - e) / numel; d loss / de = the sum of 2 (e - z) / numel, without beta."""
    quantizer = VectorQuantizer(4, 2, commitment=0.25)
    z = torch.randn(1, 2, 3, 3, requires_grad=True)
    result = quantizer(z)
    result.loss.backward()
    chosen = quantizer.decode(result.codes).detach()
    assert torch.allclose(z.grad, 0.25 * 2 * (z.detach() - chosen) / z.numel())
    flat = z.detach().movedim(1, -1).reshape(-1, 2)
    counts, sums = cluster_sums(flat, result.codes.flatten(), 4)
    expected = 2 * (counts[:, None] * quantizer.codebook.detach() - sums) / z.numel()
    assert torch.allclose(quantizer.codebook.grad, expected, atol=1e-6)


def test_the_ema_codebook_is_the_running_mean_of_its_latents() -> None:
    quantizer = VectorQuantizer(3, 2, ema_decay=0.9)
    counts, sums = quantizer.code_counts.clone(), quantizer.code_sums.clone()
    for seed in range(4):
        z = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
        codes = nearest_codes(z.movedim(1, -1).reshape(-1, 2), quantizer.codebook)
        new_counts = F.one_hot(codes, 3).float().sum(0)
        new_sums = F.one_hot(codes, 3).float().T @ z.movedim(1, -1).reshape(-1, 2)
        counts, sums = 0.9 * counts + 0.1 * new_counts, 0.9 * sums + 0.1 * new_sums
        quantizer(z)
        assert torch.allclose(quantizer.code_counts, counts, atol=1e-5)
        used = counts > 0.1
        assert torch.allclose(quantizer.codebook[used], (sums / counts[:, None])[used], atol=1e-3)


@pytest.mark.parametrize("decay", [0.9, None])
def test_restarts_bring_dead_codes_onto_latents_and_they_stay_there(decay: float | None) -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(16, 2, ema_decay=decay, dead_code_reset=True)
    with torch.no_grad():
        quantizer.codebook[4:] += 1000.0  # nothing will ever choose these
    z = torch.randn(8, 2, 8, 8)
    for _ in range(60):
        quantizer(z)
    assert quantizer.codebook.abs().max() < 10
    assert len(quantizer(z).codes.unique()) > 12


def test_without_restarts_dead_codes_stay_dead() -> None:
    quantizer = VectorQuantizer(16, 2, ema_decay=0.9)
    quantizer.codebook[4:] += 1000.0
    quantizer.code_sums.copy_(quantizer.codebook)
    quantizer.code_counts.fill_(1.0)
    for _ in range(60):
        codes = quantizer(torch.randn(8, 2, 8, 8)).codes
    assert codes.max() < 4


def used(restarts: bool) -> VectorQuantizer:
    """A quantizer that has learned for a while."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(16, 4, ema_decay=0.99, dead_code_reset=restarts)
    quantizer.initialise(torch.randn(8, 4, 8, 8))
    for _ in range(30):
        quantizer(torch.randn(8, 4, 8, 8))
    return quantizer


def copied(quantizer: VectorQuantizer, codebook: torch.Tensor) -> None:
    quantizer.codebook.copy_(codebook)


def copied_unseen_by_autograd(quantizer: VectorQuantizer, codebook: torch.Tensor) -> None:
    quantizer.codebook.data.copy_(codebook)


def loaded_from_a_gradient_codebook(quantizer: VectorQuantizer, codebook: torch.Tensor) -> None:
    other = VectorQuantizer(16, 4, dead_code_reset=True)
    other.codebook.data.copy_(codebook)
    quantizer.load_state_dict(other.state_dict(), strict=False)


def replaced(quantizer: VectorQuantizer, codebook: torch.Tensor) -> None:
    quantizer.codebook = codebook.clone()


@pytest.mark.parametrize("shift", [0, 5])  # 5: a single code takes all latents
@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("start", [used, lambda restarts: VectorQuantizer(16, 4, 0.99, dead_code_reset=restarts)])
@pytest.mark.parametrize("way", [copied, copied_unseen_by_autograd, loaded_from_a_gradient_codebook, replaced])
def test_a_codebook_set_from_outside_moves_like_one_at_rest(way: Any, start: Any, restarts: bool, shift: int) -> None:
    """By 1 % of the way to its latents at most, and not at all without latents."""
    quantizer = start(restarts)
    z = torch.randn(8, 4, 8, 8) + shift
    flat = z.movedim(1, -1).reshape(-1, 4)
    codebook = quantizer.codebook.clone()
    codebook[:10] = flat[:10] + 0.1 - shift
    way(quantizer, codebook)
    quantizer(z)
    counts, sums = cluster_sums(flat, nearest_codes(flat, codebook), 16)
    way_to_go = torch.where(counts > 0, (sums / counts[:, None] - codebook).norm(dim=1), 0)
    assert ((quantizer.codebook - codebook).norm(dim=1) <= 0.0101 * way_to_go + 1e-4)[:10].all()
    for _ in range(20):  # and it stays a running mean of its latents
        quantizer(z)
    assert quantizer.codebook.isfinite().all()
    assert quantizer.codebook.norm(dim=1).max() < flat.norm(dim=1).max()


@pytest.mark.parametrize("restarts", [True, False])
def test_what_is_not_finite_on_another_rank_teaches_nothing_on_this(
    restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantizer = used(restarts)
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    monkeypatch.setattr(vq, "all_sum", lambda counts, sums: (counts, sums + torch.nan))
    quantizer(torch.randn(8, 4, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in quantizer.state_dict().items())


@given(st.integers(1, 40), st.integers(2, 40))
@settings(max_examples=30)
def test_initialising_works_with_fewer_and_more_latents_than_codes(n: int, k: int) -> None:
    quantizer = VectorQuantizer(k, 3, ema_decay=0.99, dead_code_reset=True)
    quantizer.initialise(torch.randn(1, 3, n, 1))
    assert quantizer.codebook.isfinite().all()
    assert len(quantizer.codebook.unique(dim=0)) > min(n, k) // 2
    assert (quantizer.code_counts > 0).all()
    assert torch.allclose(quantizer.code_sums / quantizer.code_counts[:, None], quantizer.codebook, atol=1e-4)


def test_kmeans_finds_clear_clusters() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    found, counts = kmeans(centres.repeat(50, 1) + 0.1 * torch.randn(150, 2), 12)
    assert torch.cdist(centres, found).min(1).values.max() < 0.5
    assert counts.sum() == 150


def test_distances_are_float32_under_autocast() -> None:
    """Two codes that are equal in bfloat16 are distinguished."""
    quantizer = VectorQuantizer(2, 1, ema_decay=0.99).eval()
    quantizer.codebook.copy_(torch.tensor([[1.0], [1.001]]))
    with torch.autocast("cpu", torch.bfloat16):
        result = quantizer(torch.tensor([1.0, 1.001]).view(2, 1, 1, 1))
    assert result.codes.flatten().tolist() == [0, 1]
    assert result.latents.dtype == torch.float32
