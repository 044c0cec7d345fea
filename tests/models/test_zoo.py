"""Every registered variant: registering a variant is testing it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.data.loader import to_uint8
from avq.errors import UsageError
from avq.models import create_variant, list_variants, register_variant, variant_config
from avq.models.tokenizer import Tokenizer
from avq.models.zoo import VARIANTS
from avq.training.checkpoint import load_model, save_model

SMALL = {"width": 8, "codebook_size": 16}


def images(count: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def ready(name: str, size: int = 32) -> Tokenizer:
    """A small model of that name with a codebook that fits random images."""
    torch.manual_seed(0)
    model = create_variant(name, image_size=size, **SMALL)
    if model.is_baseline:
        model.fit(to_uint8(images(8, size)), seed=0)
    model.initialise_codebooks(images(8, size))
    return model


@pytest.mark.parametrize("name", list_variants())
def test_shapes_ranges_and_kind(name: str) -> None:
    model = ready(name, 64)
    assert model.is_baseline is VARIANTS[name].baseline
    result = model(images(2, 64))
    assert result.images.shape == (2, 3, 64, 64)
    assert len(result.codes) == len(model.codebook_sizes)
    for level, codes in enumerate(result.codes):
        assert codes.shape == (2, 16 >> level, 16 >> level)
        assert codes.dtype == torch.int64
        assert 0 <= codes.min() <= codes.max() < model.codebook_sizes[level]
    assert all(loss.ndim == 0 and loss >= 0 for loss in result.losses.values())


@pytest.mark.parametrize("name", list_variants())
def test_codes_decode_alone(name: str) -> None:
    model = ready(name).eval()
    with torch.no_grad():
        result, codes = model(images()), model.encode(images())
        assert all(torch.equal(a, b) for a, b in zip(result.codes, codes, strict=True))
        assert torch.equal(model.decode(codes), result.images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", list_variants())
def test_a_model_of_any_dtype_takes_float32_images(name: str, dtype: torch.dtype) -> None:
    """Its reconstructions are those of float32 within the dtype's rounding; attention and codebooks stay in float32."""
    model = ready(name).eval()
    with torch.no_grad():
        expected = model(images()).images
        model.to(dtype)
        result = model(images())
        assert torch.equal(model.decode(model.encode(images())), result.images)
    model.latent_sizes(32)
    assert (result.images.float() - expected).abs().mean() < 0.02
    own = {quantizer.codebook.dtype for quantizer in model.find_quantizers()}
    own |= {weight.dtype for level in model.find_levels() if level.attention for weight in level.attention.parameters()}
    assert own <= {torch.float32, max(dtype, torch.float32, key=lambda one: one.itemsize)}
    assert result.images.dtype == dtype


@pytest.mark.parametrize("name", list_variants())
def test_gradients_reach_every_trainable_parameter(name: str) -> None:
    model = ready(name)
    if "gated" in str(getattr(model, "config", "")):
        pytest.skip("a gate that starts at zero passes no gradient to what it gates")
    result = model.train()(images(8))
    total = (result.images - images(8)).abs().mean() + sum(result.losses.values())
    if model.is_baseline:
        assert not list(model.parameters())
        return
    total.backward()
    idle = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert not idle


@pytest.mark.parametrize("name", list_variants())
def test_save_and_load_give_bit_equal_output(name: str, tmp_path: Path) -> None:
    model = ready(name).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    again = load_model(path)
    with torch.no_grad():
        assert torch.equal(again(images()).images, model(images()).images)


@pytest.mark.parametrize("name", [n for n in list_variants() if n != "patch-kmeans"])
def test_width_shrinks_every_trained_variant(name: str) -> None:
    narrow, wide = (sum(p.numel() for p in create_variant(name, width=w).parameters()) for w in (8, 16))
    assert narrow < wide


@given(st.sampled_from(list_variants()), st.integers(1, 80))
@settings(max_examples=60)
def test_any_image_size_its_strides_divide_and_no_other(name: str, size: int) -> None:
    stride = 4 * 2 ** (variant_config(name).get("levels", 1) - 1)
    if size % stride:
        with pytest.raises(UsageError, match=f"{size} is not a multiple of {stride}"):
            create_variant(name, image_size=size, **SMALL)
        return
    model = create_variant(name, image_size=size, **SMALL).eval()
    with torch.no_grad():
        assert model(images(1, size)).images.shape == (1, 3, size, size)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: create_variant("aren-l"), "unknown variant 'aren-l'; did you mean"),
        (lambda: create_variant("aren-1", widht=8), "unknown model setting 'widht'; did you mean 'width'"),
        (lambda: create_variant("aren-1", width="wide"), "width must be int, not 'wide'"),
        (lambda: create_variant("aren-1", codebook="sgd"), "unknown value of codebook"),
        (lambda: create_variant("aren-1", similarity="softmax"), "has no attention layer"),
        (lambda: create_variant("aren-1-rpa-projected", attention_dim=8), "does not fit the projected form"),
        (lambda: create_variant("vqvae", levels=2), "the vqvae backbone has one level"),
        (lambda: create_variant("aren-1", levels=4), "levels must be 1, 2 or 3"),
        (lambda: create_variant("aren-1", codebook_size=1), "codebook_size must be at least 2"),
        (lambda: create_variant("patch-kmeans", codes=3), "unknown setting of patch-kmeans"),
        (lambda: create_variant("patch-kmeans", codebook_size=0), "codebook_size must be at least 2"),
        (lambda: create_variant("patch-kmeans", codebook_size="many"), "codebook_size must be int"),
        (lambda: register_variant("deep", "too many", levels=5), "levels must be 1, 2 or 3"),
    ],
)
def test_wrong_use_is_one_clear_line(build: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()  # type: ignore[operator]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_that_does_not_fit_is_refused_by_the_model() -> None:
    with pytest.raises(UsageError, match="image size 30 is not a multiple of 4"):
        ready("aren-1")(images(1, 30))
    with pytest.raises(UsageError, match=r"images must be \[B, 3, H, W\]"):
        ready("aren-1")(images()[:, :1])


def test_a_users_variant_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VARIANTS, "_entries", dict(VARIANTS))
    register_variant("mine", "three codes deep", levels=3, resize="bilinear")
    assert create_variant("mine", **SMALL)(images()).images.shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="registered already"):
        register_variant("mine", "again")
    with pytest.raises(UsageError, match="unknown model setting"):
        register_variant("other", "typo", level=3)
    register_variant("gone", "a factory that does not exist", factory="avq.models.patch_kmeans:Nothing")
    with pytest.raises(UsageError, match=r"names 'avq.models.patch_kmeans:Nothing'"):
        create_variant("gone")
