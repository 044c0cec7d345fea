"""Each quantizer against its paper's formulas, written out in float64: vectors, codes, losses and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from avq.errors import UsageError
from avq.models import create_variant
from avq.models.quantizers.binary import BinaryQuantizer
from avq.models.quantizers.cvq import ClusteredQuantizer
from avq.models.quantizers.entropy import bit_entropies, softmax_entropies
from avq.models.quantizers.flat import FlatQuantizer
from avq.models.quantizers.fsq import FiniteScalar
from avq.models.quantizers.ibq import IBQ
from avq.models.quantizers.product import ProductQuantizer
from avq.models.quantizers.residual import ResidualQuantizer
from avq.models.quantizers.simvq import SimVQ
from avq.models.quantizers.vq import VectorQuantizer

DIM, BETA, WEIGHT = 6, 0.25, 0.1
Result = tuple[Tensor, Tensor, Tensor]  # vectors, codes, loss
State = dict[str, Tensor]


def straight(z: Tensor, q: Tensor) -> Tensor:
    return z + (q - z).detach()


def square(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()


def both(z: Tensor, q: Tensor) -> Tensor:
    """1711.00937, eq. 3."""
    return BETA * square(z, q.detach()) + square(z.detach(), q)


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    return torch.cdist(z, codebook).argmin(1)


def entropies(probabilities: Tensor) -> Tensor:
    """2310.05737, eq. 4: per-sample minus batch entropy, of `[N, K]`."""
    mean = probabilities.mean(0)
    return -(probabilities * probabilities.log()).sum(1).mean() + (mean * mean.log()).sum()


def vq(z: Tensor, s: State, codebook: str = "codebook") -> Result:
    codes = nearest(z, s[codebook])
    q = s[codebook][codes]
    return straight(z, q), codes, both(z, q)


def vq_normalized(z: Tensor, s: State) -> Result:
    return vq(F.normalize(z), {"codebook": F.normalize(s["codebook"])})


def vq_rotated(z: Tensor, s: State) -> Result:
    """2410.06424, section 4.2: q = lambda R z, both constants."""
    _, codes, loss = vq(z, s)
    e = s["codebook"][codes].detach()
    lengths = e.norm(dim=1) / z.detach().norm(dim=1)
    unit_z, unit_e = F.normalize(z.detach()), F.normalize(e)
    r = F.normalize(unit_z + unit_e)
    outer = "ni,nj->nij"
    rotation = torch.eye(DIM) - 2 * torch.einsum(outer, r, r) + 2 * torch.einsum(outer, unit_e, unit_z)
    return lengths[:, None] * torch.einsum("nij,nj->ni", rotation, z), codes, loss


def vq_entropy(z: Tensor, s: State) -> Result:
    vectors, codes, loss = vq(z, s)
    distances = (z[:, None] - s["codebook"]).square().sum(2)
    return vectors, codes, loss + WEIGHT * entropies((-distances / 0.5).softmax(1))


def fsq(z: Tensor, s: State) -> Result:
    """2309.15505, the listing of appendix A.1."""
    levels = torch.tensor([8, 6, 5, 4, 3, 2], dtype=torch.float64)
    half = (levels - 1) * (1 - 1e-3) / 2
    offset = torch.where(levels % 2 == 1, 0.0, 0.5)
    bounded = torch.tanh(z + torch.tan(offset / half)) * half - offset
    rounded = straight(bounded, bounded.round())
    basis = torch.cat([torch.ones(1), levels[:-1].cumprod(0)])
    return rounded / (levels // 2), ((rounded.detach().round() + levels // 2) * basis).sum(1).long(), z.sum() * 0


def binary(spherical: bool, temperature: float) -> Callable[[Tensor, State], Result]:
    """2310.05737, eq. 3 to 5; 2406.07548, eq. 4 to 8: q(c|z) over all of the codebook, the batch entropy by bits."""

    def of(z: Tensor, s: State) -> Result:
        scale = DIM**-0.5 if spherical else 1.0
        u = F.normalize(z) if spherical else z
        every = (torch.arange(2**DIM)[:, None] // 2 ** torch.arange(DIM) % 2 * 2 - 1).double() * scale
        sign = torch.where(u > 0, 1.0, -1.0)
        soft = (-(u[:, None] - every).square().sum(2) / temperature).softmax(1)
        ones = (soft[:, :, None] * (every > 0)).sum(1).mean(0)
        batch = -(ones * ones.log() + (1 - ones) * (1 - ones).log()).sum()
        loss = WEIGHT * (-(soft * soft.log()).sum(1).mean() - batch)
        if not spherical:
            loss = loss + BETA * square(u, sign)
        return straight(u, sign) * scale, nearest(u.detach(), every), loss

    return of


def simvq(z: Tensor, s: State) -> Result:
    """2411.02038, eq. 7."""
    return vq(z, {"codebook": s["frozen"] @ s["layer.weight"].T + s["layer.bias"]})


def cvq(z: Tensor, s: State) -> Result:
    codes = (F.normalize(z) @ F.normalize(s["codebook"]).T).argmax(1)
    q = s["codebook"][codes]
    return straight(z, q), codes, both(z, q)


def ibq(z: Tensor, s: State) -> Result:
    """2412.02692, eq. 3 to 6, as in the authors' code."""
    logits = z @ s["codebook"].T
    soft = logits.softmax(1)
    hard = F.one_hot(logits.argmax(1), len(s["codebook"])).double()
    q, q_hard = (hard + soft - soft.detach()) @ s["codebook"], hard @ s["codebook"]
    loss = square(q, z) + square(q_hard.detach(), z) + BETA * square(q_hard, z.detach())
    return q, logits.argmax(1), loss + WEIGHT * entropies((logits / 0.5).softmax(1))


def residual(shared: bool) -> Callable[[Tensor, State], Result]:
    """2203.01941, eq. 3 to 5 and 8: each partial sum is drawn to the latent."""

    def of(z: Tensor, s: State) -> Result:
        total, codes, loss = torch.zeros_like(z), [], torch.zeros(())
        for depth in range(3):
            codebook = s[f"parts.{0 if shared else depth}.codebook"]
            codes.append(nearest(z - total, codebook))
            loss = loss + square(z.detach() - total, codebook[codes[-1]])
            total = total + codebook[codes[-1]].detach()
            loss = loss + BETA * square(z, total)
        return straight(z, total), torch.stack(codes, 1), loss

    return of


def product(z: Tensor, s: State) -> Result:
    made = [vq(group, s, f"parts.{head}.codebook") for head, group in enumerate(z.chunk(2, 1))]
    vectors, codes, losses = zip(*made, strict=True)
    return torch.cat(vectors, 1), torch.stack(codes, 1), sum(losses) / 2


def plain(dim: int = DIM) -> VectorQuantizer:
    made = VectorQuantizer(16, dim, None, BETA)
    made.codebook.data.normal_()
    return made


def with_settings(**settings: Any) -> VectorQuantizer:
    made = plain()
    for name, value in settings.items():
        setattr(made, name, value)
    return made


KINDS: dict[str, tuple[Callable[[], FlatQuantizer], Callable[[Tensor, State], Result]]] = {
    "vq": (plain, vq),
    "vq, normalize": (lambda: with_settings(normalize=True), vq_normalized),
    "vq, rotation": (lambda: with_settings(rotated=True), vq_rotated),
    "vq, entropy": (lambda: with_settings(entropy_weight=WEIGHT, temperature=0.5), vq_entropy),
    "fsq": (lambda: FiniteScalar([8, 6, 5, 4, 3, 2]), fsq),
    "bsq": (lambda: BinaryQuantizer(DIM, True, 0.0, WEIGHT, 1.0), binary(True, 1.0)),
    "lfq": (lambda: BinaryQuantizer(DIM, False, BETA, WEIGHT, 0.5), binary(False, 0.5)),
    "simvq": (lambda: SimVQ(16, DIM, BETA), simvq),
    "cvq": (lambda: ClusteredQuantizer(16, DIM, BETA, 0.99), cvq),
    "ibq": (lambda: IBQ(16, DIM, BETA, WEIGHT, 0.5), ibq),
    "residual": (lambda: ResidualQuantizer([plain() for _ in range(3)], 3, False), residual(False)),
    "residual, shared": (lambda: ResidualQuantizer([plain()], 3, False), residual(True)),
    "product": (lambda: ProductQuantizer([plain(3), plain(3)], 2), product),
}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_losses_and_gradients_are_the_formulas(kind: str) -> None:
    make, formula = KINDS[kind]
    torch.manual_seed(0)
    quantizer = make().eval()  # which learns nothing, with the same loss
    latents, weights = torch.randn(3, DIM, 5, 4), torch.randn(3, DIM, 5, 4)
    z = latents.clone().requires_grad_()
    result = quantizer(z)
    ((result.latents * weights).sum() + 10 * result.loss).backward()

    exact = latents.double().requires_grad_()
    state = {name: value.detach().double() for name, value in quantizer.state_dict().items()}
    for name, _ in quantizer.named_parameters():
        state[name].requires_grad_()
    vectors, codes, loss = formula(exact.movedim(1, -1).reshape(-1, DIM), state)
    ((vectors.reshape(3, 5, 4, DIM).movedim(-1, 1) * weights.double()).sum() + 10 * loss).backward()

    pairs = {"latents": (result.latents, vectors.reshape(3, 5, 4, DIM).movedim(-1, 1)), "loss": (result.loss, loss)}
    pairs["gradient"] = (z.grad, exact.grad)
    pairs |= {name: (own.grad, state[name].grad) for name, own in quantizer.named_parameters()}
    assert torch.equal(result.codes.reshape(codes.shape), codes)
    for what, (ours, theirs) in pairs.items():
        error = (ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30)
        assert error < 1e-5 or ours.abs().max() == theirs.abs().max() == 0, (what, error)


@pytest.mark.parametrize("levels", [[8, 6, 5], [4, 4, 4, 4], [3, 2], [2], [1000], [7, 7, 7]])
def test_fsq_codes_are_a_bijection_to_the_integers(levels: list[int]) -> None:
    quantizer = FiniteScalar(levels)
    every = torch.arange(quantizer.codebook_size)
    vectors = quantizer.vectors(every)
    assert len(vectors.unique(dim=0)) == len(every)
    assert vectors.min() == -1
    half, offset, width = quantizer.half_width, quantizer.offset, quantizer.levels // 2
    inner = torch.atanh(((vectors * width + offset) / half).clamp(-1, 1)) - quantizer.shift
    assert torch.equal(quantizer.assign(inner.clamp(-50, 50)), every)


@pytest.mark.parametrize(("levels", "words"), [([], "2 to 1,000"), ([8, 1], "2 to 1,000"), ([8.0], "2 to 1,000"),
                                               ([999] * 7, "more than 2\\^62")])  # fmt: skip
def test_fsq_refuses_what_is_no_number_of_levels(levels: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_variant("aren-1", quantizer="fsq", fsq_levels=levels)


def test_the_batch_entropy_of_bits_is_an_upper_bound_reached_by_independent_ones() -> None:
    """And the per-sample entropy is exact. Against the softmax over all codes."""
    torch.manual_seed(0)
    every = (torch.arange(16)[:, None] // 2 ** torch.arange(4) % 2 * 2 - 1).double()

    def compared(logits: Tensor) -> tuple[Tensor, Tensor]:
        sample, batch = bit_entropies(logits, over_ranks=False)
        full_sample, full_batch = softmax_entropies(logits, every / 2, torch.zeros(16).double(), over_ranks=False)
        torch.testing.assert_close(sample, full_sample)
        return batch, full_batch

    bound, full = compared(3 * torch.randn(50, 1).double() * torch.ones(4))  # bits that go together
    assert bound > full + 0.5
    bits = torch.tensor([[0.3, 2.0], [-1.0, 0.5], [0.0, -4.0], [1.0, 1.5]], dtype=torch.float64)
    bound, full = compared(torch.cartesian_prod(*bits))  # every combination: independent
    torch.testing.assert_close(bound, full)


class Largest(TorchDispatchMode):
    """The most values that a tensor had."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(one, Tensor):
                self.values = max(self.values, one.numel())
        return result


@pytest.mark.parametrize("name", ["bsq", "lfq"])
def test_a_quarter_of_a_million_binary_codes_take_no_room(name: str) -> None:
    model = create_variant("aren-1", 16, quantizer=name, codebook_size=2**18, width=8, code_dim=8)
    quantizer, z = model.find_quantizers()[0], torch.randn(4, 8, 4, 4, requires_grad=True)
    with Largest() as seen:
        result = quantizer(z)
        (result.latents.sum() + result.loss).backward()
        assert torch.equal(quantizer.decode(result.codes), result.latents)
    assert result.codes.max() > 2**16
    assert seen.values <= 64 * 2 * 18


@torch.no_grad()
def test_cvq_moves_hardly_used_vectors_onto_latents_by_their_cosines() -> None:
    torch.manual_seed(0)
    quantizer = ClusteredQuantizer(2, 2, BETA, 0.9)
    quantizer.codebook.data.copy_(torch.tensor([[1.0, 0.0], [-9.0, 0.1]]))
    flat = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    drawn = []
    for _ in range(2000):
        quantizer.codebook.data[1] = torch.tensor([-9.0, 0.1])
        quantizer.use.copy_(torch.tensor([0.5, 0.001]))
        quantizer.learn_from(flat, torch.tensor([0, 0]))
        share = torch.exp(torch.tensor(-10 * 2 * 0.0009 / 0.1 - 1e-3))
        torch.testing.assert_close(quantizer.use, torch.tensor([0.55, 0.0009]))
        moved = (quantizer.codebook[1].detach() - (1 - share) * torch.tensor([-9.0, 0.1])) / share
        drawn.append(int((flat - moved).norm(dim=1).argmin()))
        assert (flat - moved).norm(dim=1).min() < 1e-4
    assert torch.equal(quantizer.codebook[0], torch.tensor([1.0, 0.0]))  # in use: stays to the last bit
    expected = torch.softmax(F.normalize(torch.tensor([[-9.0, 0.1]])) @ F.normalize(flat).T, 1)[0, 1]
    assert sum(drawn) / len(drawn) == pytest.approx(expected.item(), abs=0.04)


@pytest.mark.parametrize("shared", [True, False])
def test_residual_codes_leave_less_with_each_depth_and_a_prefix_decodes(shared: bool) -> None:
    torch.manual_seed(0)
    parts = [VectorQuantizer(16, 4, 0.99) for _ in range(1 if shared else 3)]
    quantizer, z = ResidualQuantizer(parts, 3, dropout=True), torch.randn(64, 4, 4, 4)
    quantizer.initialise(z)
    codes = quantizer.encode(z)
    errors = [(quantizer.decode(codes[..., :depth]) - z).square().mean() for depth in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    depths = {quantizer(z).codes.shape[3] for _ in range(30)}
    assert depths == {1, 2, 3}  # dropout
    assert quantizer.eval()(z).codes.shape[3] == 3
