"""Linear attention against dense: the same numbers, without the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from avq.errors import UsageError
from avq.models import attention_linear
from avq.models.attention import ResidualPixelAttention, attend, resolve_implementation, use_implementation
from avq.models.zoo import create_variant

KINDS = ["sigmoid", "sigmoid-bias", "sigmoid-mean", "softmax"]
FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"


class Watch(TorchDispatchMode):
    """The operators that ran, and the elements of the largest tensor that any of them returned."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.operators.add(func.name().split(".")[0])
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.largest = max([self.largest, *sizes])
        return out


@contextmanager
def small_tiles() -> Iterator[None]:
    """Tiles of 3 x 5 weights, so that tiny images are cut both ways with remainders."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TILE": 15, "COLUMNS": 5, "BAND": 15, "LEAST_ROWS": 2}.items():
            patch.setattr(attention_linear, name, value)
        yield


def inputs(
    pixels: int, keys: int, values: int, dtype: torch.dtype = torch.float32, batch: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    made = [torch.randn(batch, pixels, width, dtype=dtype) for width in (keys, keys, values)]
    made[0] *= keys**-0.5  # logits of a layer in use, not saturated ones
    return made[0].requires_grad_(), made[1].requires_grad_(), made[2].requires_grad_()


def with_gradients(arguments: tuple[Tensor, ...], similarity: str, implementation: str) -> list[Tensor]:
    """The result and the gradient of every argument, under a fixed random slope."""
    out = attend(*arguments, similarity, implementation)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out)
    return [out.detach(), *torch.autograd.grad(out, arguments, slope)]


def relative(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.parametrize("similarity", KINDS)
@pytest.mark.parametrize(("keys", "values"), [(64, 64), (16, 64), (64, 16), (8, 300)])
def test_float32_gradients_are_those_of_float64_dense(similarity: str, keys: int, values: int) -> None:
    """1,295 pixels: several tiles both ways, the last ones cut short."""
    torch.manual_seed(0)
    arguments = inputs(35 * 37, keys, values, batch=1)
    exact = with_gradients(tuple(x.detach().double().requires_grad_() for x in arguments), similarity, "dense")
    for ours, reference in zip(with_gradients(arguments, similarity, "linear"), exact, strict=True):
        assert relative(ours, reference) < 1e-5


@pytest.mark.parametrize("similarity", KINDS)
@pytest.mark.parametrize("values", [2, 6], ids=["wide-keys", "narrow-keys"])
def test_gradcheck(similarity: str, values: int) -> None:
    torch.manual_seed(0)
    arguments = inputs(7, 3, values, torch.float64)
    with small_tiles():
        assert torch.autograd.gradcheck(lambda q, k, v: attend(q, k, v, similarity, "linear"), arguments)


@pytest.mark.parametrize("similarity", [*KINDS, "gated"])
@pytest.mark.parametrize("form", ["literal", "projected"])
@given(
    height=st.integers(1, 7), width=st.integers(1, 7), batch=st.integers(1, 3), heads=st.sampled_from([1, 2, 3]),
    filters=st.sampled_from([1, 4]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=10)
def test_the_layer_is_the_same_either_way(
    form: str, similarity: str, height: int, width: int, batch: int, heads: int, filters: int, seed: int
) -> None:
    """Odd sizes, one pixel, latents that are not square, several heads."""
    torch.manual_seed(seed)
    layer = ResidualPixelAttention(
        12, 12 if form == "projected" else heads * filters, form, similarity, heads=heads
    ).double()
    if layer.gate is not None:
        torch.nn.init.constant_(layer.gate, 0.7)
    x = torch.randn(batch, 12, height, width, dtype=torch.float64, requires_grad=True)
    found = []
    for implementation in ("dense", "linear"):
        layer.implementation = implementation
        with small_tiles():
            out = layer(x)
            found.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
    for dense, linear in zip(*found, strict=True):
        assert torch.allclose(dense, linear, rtol=1e-9, atol=1e-9)


def test_heads_attend_each_by_themselves() -> None:
    """Two heads are two layers of half the channels, side by side."""
    torch.manual_seed(0)
    both, x = ResidualPixelAttention(6, 4, heads=2).double(), torch.randn(2, 6, 3, 5).double()
    update = both.parts(x)[1]
    q, k = (conv(x).flatten(2).mT for conv in (both.g1, both.g2))  # type: ignore[misc]
    v = x.flatten(2).mT
    alone = [attend(q[..., 2 * h : 2 * h + 2], k[..., 2 * h : 2 * h + 2], v[..., 3 * h : 3 * h + 3], "sigmoid")
             for h in (0, 1)]  # fmt: skip
    assert torch.allclose(update, torch.cat(alone, -1).mT.view_as(x))


@pytest.mark.parametrize("heads", [0, 4])
def test_heads_that_do_not_divide_the_channels(heads: int) -> None:
    with pytest.raises(UsageError, match=f"{heads} heads"):
        ResidualPixelAttention(6, 6, heads=heads)


@pytest.mark.parametrize("similarity", [*KINDS, "gated"])
@pytest.mark.parametrize("filters", [4, 16], ids=["narrow", "as-wide"])
def test_linear_never_has_a_tensor_of_all_pixels_by_all_and_saves_only_its_inputs(
    similarity: str, filters: int
) -> None:
    """At 2,304 and 4,096 pixels: the largest tensor of forward and backward, and what is saved between them."""
    bytes_saved = {}
    for side in (48, 64):
        pixels = side * side
        layer = ResidualPixelAttention(16, filters, similarity=similarity, implementation="linear")
        x = torch.randn(1, 16, side, side, requires_grad=True)
        saved: dict[int, int] = {}

        def note(tensor: Tensor, saved: dict[int, int] = saved) -> Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with Watch() as watch:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                out = layer(x)
            out.sum().backward()
        bytes_saved[pixels] = sum(saved.values())
        assert watch.largest <= max(attention_linear.BAND, 16 * pixels) < pixels**2
        # x, queries, keys, values and results; the layer's weights
        assert bytes_saved[pixels] <= 4 * pixels * (5 * 16 + 2 * filters) + 4096
    assert bytes_saved[4096] - 4096 <= bytes_saved[2304] * 4096 / 2304


def test_dense_has_what_linear_has_not() -> None:
    """The same counting finds the matrix where there is one: it can fail."""
    with Watch() as watch:
        ResidualPixelAttention(8, 4, implementation="dense")(torch.randn(1, 8, 40, 40))
    assert watch.largest == 1600**2


@pytest.mark.parametrize(("keys", "values"), [(16, 16), (12, 16), (20, 16), (20, 300)])
def test_softmax_takes_the_fused_kernel(keys: int, values: int) -> None:
    """Also where keys are narrower or wider than values: they are padded; values above 256 channels are split."""
    arguments = inputs(400, keys, values)
    fused = Watch()
    with fused:
        out = attention_linear._fused(*arguments)
    assert FLASH in fused.operators
    assert fused.largest < 2 * 400 * 400
    assert torch.allclose(out, attend(*arguments, "softmax", "dense"), atol=1e-5)


def test_unpadded_keys_build_the_matrix() -> None:
    """What the padding avoids; once torch fixes it, the padding may go."""
    q, k, v = (x.unsqueeze(1) for x in inputs(400, 8, 16))
    with Watch() as watch:
        torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    assert FLASH not in watch.operators
    assert watch.largest >= 2 * 400 * 400


@pytest.mark.parametrize("similarity", ["sigmoid", "softmax"])
def test_autocast_changes_nothing(similarity: str) -> None:
    """Forward and backward are float32 under bfloat16 autocast, for arguments of any kind."""
    arguments = inputs(400, 4, 16)
    plain = with_gradients(arguments, similarity, "linear")
    with torch.autocast("cpu", torch.bfloat16):
        mixed = with_gradients(arguments, similarity, "linear")
        rounded = attend(*(x.bfloat16() for x in arguments), similarity, "linear")
    assert rounded.dtype == torch.float32
    for ours, reference in zip(mixed, plain, strict=True):
        assert torch.equal(ours, reference)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch looks at what it traces
@pytest.mark.parametrize("similarity", ["sigmoid", "softmax"])
def test_compiling_does_not_break_it(similarity: str) -> None:
    layer = ResidualPixelAttention(16, 4, similarity=similarity, implementation="linear")
    x = torch.randn(1, 16, 20, 20, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager")
    grads = [torch.autograd.grad(call(x).square().sum(), x)[0] for call in (layer, compiled)]
    assert relative(grads[1], grads[0]) < 1e-5


def test_auto_picks_by_size_and_device() -> None:
    assert resolve_implementation("auto", 1024, "cpu") == "dense"
    assert resolve_implementation("auto", 1025, "cpu") == "linear"
    assert resolve_implementation("auto", 1025, torch.device("cuda", 0)) == "linear"
    assert resolve_implementation("auto", 10**6, "meta") == "dense"
    assert resolve_implementation("dense", 10**6, "cpu") == "dense"
    assert resolve_implementation("linear", 1, "cpu") == "linear"
    with pytest.raises(UsageError, match="did you mean 'linear'"):
        resolve_implementation("liner", 1, "cpu")


def test_a_model_may_be_trained_dense_and_used_linear() -> None:
    model = create_variant("aren-2-rpa-mean", image_size=96, width=8).eval()
    images = torch.rand(1, 3, 96, 96) * 2 - 1
    found = []
    for implementation in ("dense", "linear"):
        use_implementation(model, implementation)
        with torch.no_grad():
            found.append(model(images))
    assert all(torch.equal(a, b) for a, b in zip(found[0].codes, found[1].codes, strict=True))
    assert torch.allclose(found[0].images, found[1].images, atol=1e-5)
    with pytest.raises(UsageError, match="unknown attention implementation"):
        use_implementation(model, "sparse")
