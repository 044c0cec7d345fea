"""Asking a model leaves no trace, and finds every module that it holds."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avq.models import Reconstruction, Tokenizer, create_variant, list_variants
from avq.models.asking import asks, evaluating, modules_in

CASES = [*((name, {}) for name in list_variants()), ("aren-3-rpa", {"block": "v2", "decoder_input": "all"})]


class Normed(Tokenizer):
    """A user's model, with batch normalisation and what only the base class answers."""

    codebook_sizes, decoder_levels = [2], [1]

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Reconstruction:
        return Reconstruction(self.norm(images), self.encode(images), {})

    def encode(self, images: Tensor) -> list[Tensor]:
        return [(self.norm(images)[:, 0, ::4, ::4] > 0).long()]

    def decode(self, codes: list[Tensor]) -> Tensor:
        raise NotImplementedError


def trace(model: nn.Module) -> list[Any]:
    return [[t.clone() for t in model.state_dict().values()], [module.training for module in model.modules()]]


def same(before: list[Any], after: list[Any]) -> bool:
    return before[1] == after[1] and all(map(torch.equal, before[0], after[0]))


def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_no_query_moves_a_variant_in_training(name: str, settings: dict[str, Any]) -> None:
    """Also before anything has started its codebooks; and it answers as in eval mode."""
    torch.manual_seed(0)
    model = create_variant(name, 32, **({} if name == "patch-kmeans" else {"width": 8}), codebook_size=16, **settings)
    answers = []
    for training in (True, False):
        model.train(training)
        list(model.modules())[-1].eval()  # a part that someone has frozen stays so
        before = trace(model)
        codes = model.encode(images())
        answers.append([*codes, model.decode(codes), *model.backbone(images())])
        model.latent_sizes(32)
        model.attention_computed(32, "cpu")
        assert same(before, trace(model))
    assert all(map(torch.equal, *answers))


def test_the_base_class_asks_a_users_model_without_teaching_it() -> None:
    model = Normed()
    model.norm.running_mean.fill_(1)  # type: ignore[union-attr]
    before = trace(model)
    assert model.latent_sizes(32) == [(8, 8)]
    assert model.attention_computed(32, "cpu") == {}
    assert same(before, trace(model))


def test_each_module_is_in_its_own_mode_again_whatever_happens() -> None:
    model = nn.Sequential(nn.Identity().eval(), nn.Identity())

    @asks
    def fail(model: nn.Module) -> None:
        assert not any(module.training for module in model.modules())
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail(model)
    assert [module.training for module in model.modules()] == [True, False, True]
    with evaluating(model.modules()):
        assert not model[1].training
    assert model[1].training


class Holder:
    """Attributes, slots, containers, a closure, a bound method, a partial function, and a circle."""

    __slots__ = ("held",)

    def __init__(self, parts: list[nn.Module]) -> None:
        a, b, c, d, e, f = parts
        self.held: Any = [{"a": (a,)}, lambda: b, c.forward, partial(d, 1), {"self": self}, type("Plain", (), {})()]
        self.held[-1].part = e
        e.hidden = [f]  # type: ignore[assignment]


def test_modules_are_found_however_they_are_held() -> None:
    parts: list[nn.Module] = [nn.Identity() for _ in range(6)]
    others = nn.Identity()  # which the same module of Python names, but the object does not hold
    globals()["_others"] = others
    found = modules_in(Holder(parts))
    assert set(found) == set(parts)
    assert len(found) == len(parts)
