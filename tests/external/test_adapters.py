"""Any object with encode and decode, and those of other libraries."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avq.data.loader import to_model
from avq.data.sources import Dataset
from avq.errors import AvqError, UsageError
from avq.evaluation.evaluate import evaluate
from avq.external.adapters import adapt, is_address, load_object
from avq.models import create_variant


class Levels:
    """Mean brightness of 4x4 patches in 16 steps, as any researcher's class may look."""

    codebook_size: Any = 16
    image_range = (-1, 1)

    def encode(self, images: Tensor) -> Any:
        grey = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)[:, 0]
        return ((grey + 1) * 8).clamp(0, 15).long()

    def decode(self, codes: Any) -> Any:
        grey = (codes.float() + 0.5) / 8 - 1
        return grey[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)


class UnitLevels(Levels):
    image_range = (0, 1)

    def encode(self, images: Tensor) -> Any:
        assert images.min() >= 0
        return super().encode(images * 2 - 1)

    def decode(self, codes: Any) -> Any:
        return (super().decode(codes) + 1) / 2


class TwoLevels(Levels):
    codebook_size = (16, 16)
    decoder_levels = (1,)

    def encode(self, images: Tensor) -> Any:
        codes = super().encode(images)
        return [codes.flatten(1), codes[:, ::2, ::2]]

    def decode(self, codes: Any) -> Any:
        assert codes[0].shape[1:] == (16,)
        return super().decode(codes[0].reshape(-1, 4, 4))


def values(model: Any, faces: Dataset) -> dict[tuple[str, int | None], Any]:
    return {(row.metric, row.level): row for row in evaluate(model, faces).measurements}


def test_an_object_is_measured_like_our_own(faces: Dataset) -> None:
    rows = values(adapt(Levels()), faces)
    images = to_model(faces.test.images)
    expected = (Levels().decode(Levels().encode(images)) - images).double().abs().mean().item() / 2
    assert rows["mae", None].value == pytest.approx(expected, rel=1e-6)
    assert rows["bits-per-pixel", None].value == 16 * 4 / 16**2
    assert 1 < rows["active-codes", 1].value <= 16


def test_the_image_range_does_not_change_the_numbers(faces: Dataset) -> None:
    signed, unit = values(adapt(Levels()), faces), values(adapt(UnitLevels()), faces)
    for key, row in signed.items():
        if row.value is not None:
            assert unit[key].value == pytest.approx(row.value, rel=1e-5)


def test_levels_tokens_in_a_row_and_what_the_decoder_sees(faces: Dataset) -> None:
    rows = values(adapt(TwoLevels()), faces)
    assert rows["bits-per-pixel", None].value == 16 * 4 / 16**2
    assert rows["perplexity", 2].value > 1


def test_codes_decode_alone(faces: Dataset) -> None:
    images = to_model(faces.test.images[:3])
    for model in (adapt(Levels()), adapt(TwoLevels()), adapt(UnitLevels())):
        assert torch.equal(model.decode(model.encode(images)), model(images).images)


def test_without_sizes_there_is_no_rate(faces: Dataset) -> None:
    class Silent(Levels):
        codebook_size = None

    rows = values(adapt(Silent()), faces)
    assert rows["mae", None].value == values(adapt(Levels()), faces)["mae", None].value
    assert rows["bits-per-pixel", None].status == "n/a"


def test_a_module_is_put_into_eval_mode_and_our_own_stay_as_they_are() -> None:
    class Net(nn.Module, Levels): ...  # type: ignore[misc]

    net = Net()
    adapt(net)
    assert not net.training
    own = create_variant("aren-1", 16, width=8)
    assert adapt(own) is own


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("codebook_size", "many", "codebook_size is 'many'"),
        ("codebook_size", 0, "codebook_size is 0"),
        ("codebook_size", (16, 16), "1 levels, but codebook_size has 2"),
        ("codebook_size", 4, "K is 4"),
        ("image_range", (0, 255), "image_range"),
        ("image_range", "unit", "image_range"),
        ("decoder_levels", (2,), "decoder_levels"),
        ("encode", lambda images: images.mean(1), "integers"),
        ("encode", lambda images: (images.long(), None), "a tuple of Tensor, NoneType"),
        ("encode", lambda images: 1 / 0, "ZeroDivisionError"),
        ("decode", lambda codes: codes, "decode returned int64"),
        ("decode", lambda codes: torch.zeros(len(codes), 3, 4, 4), "[24, 3, 4, 4] for images [24, 3, 16, 16]"),
        ("decode", lambda codes: torch.full((len(codes), 3, 16, 16), torch.nan), "not finite"),
    ],
)
def test_a_broken_contract_is_one_line(name: str, value: Any, said: str, faces: Dataset) -> None:
    model = Levels()
    setattr(model, name, value)
    with pytest.raises(AvqError) as caught:
        evaluate(adapt(model, "mine:Levels"), faces)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [Levels, UnitLevels])
def test_a_wrong_range_is_noticed(wrong: type[Levels], faces: Dataset) -> None:
    class Liar(wrong):  # type: ignore[misc,valid-type]
        image_range = (0, 1) if wrong is Levels else (-1, 1)

        def encode(self, images: Tensor) -> Any:
            return Levels.encode(self, images if self.image_range == (-1, 1) else images * 2 - 1)

    with pytest.raises(AvqError, match="image_range"):
        evaluate(adapt(Liar()), faces)


def test_objects_by_name(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    Path("outside_models_of_a_test.py").write_text(
        "class Same:\n    def encode(self, images): return images\n    def decode(self, latents): return latents\n"
        "made = Same()\ndef factory(): return Same()\ndef hungry(path): ...\nnumber = 3\ndef nothing(): return 3\n"
    )
    module = "outside_models_of_a_test"
    for name in ("Same", "made", "factory"):
        assert load_object(f"{module}:{name}")(torch.zeros(1, 3, 4, 4)).codes == []
    for name, said in (
        ("hungry", "path"),
        ("number", "without encode and decode"),
        ("nothing", "lacks encode"),
        ("absent", "has no 'absent'"),
    ):
        with pytest.raises(UsageError) as caught:
            load_object(f"{module}:{name}")
        assert said in str(caught.value)
    with pytest.raises(UsageError, match="cannot be imported"):
        load_object("no_such_module_anywhere:x")


def test_names_of_objects_are_distinguished_from_files() -> None:
    assert is_address("package.module:factory")
    assert not is_address("runs/x/checkpoint.safetensors")
    assert not is_address("C:model.safetensors")
    assert not is_address("module")


class Half(nn.Module, Levels):  # type: ignore[misc]
    """A researcher's own module, whose weights may be of any dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(3, 3, 4, 4)

    def encode(self, images: Tensor) -> Any:
        return super().encode(self.shrink(images).repeat_interleave(4, 2).repeat_interleave(4, 3))

    def decode(self, codes: Any) -> Any:
        return super().decode(codes).to(self.shrink.weight.dtype)


class VQModel(nn.Module):
    """What the adapter uses of diffusers' class of this name."""

    __module__ = "diffusers.models"

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_vq_embeddings=8, norm_type="group")
        self.encoder, self.post_quant_conv = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 1)
        self.up, self.quantize = nn.ConvTranspose2d(4, 3, 4, 4), nn.Module()
        self.quantize.embedding = nn.Embedding(8, 4)
        self.quantize.forward = self.nearest

    def encode(self, images: Tensor) -> Any:
        return SimpleNamespace(latents=self.encoder(images))

    def nearest(self, latents: Tensor) -> Any:
        flat = latents.movedim(1, -1).flatten(0, 2)
        return None, None, (None, None, torch.cdist(flat.float(), self.quantize.embedding.weight.float()).argmin(1))  # type: ignore[union-attr, operator]

    def decoder(self, latents: Tensor, spatial: Tensor | None) -> Tensor:
        images: Tensor = self.up(latents)
        return images


class AutoencoderKL(nn.Module):
    """What the adapter uses of diffusers' class of this name."""

    __module__ = "diffusers.models"

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 3, 4, 4)

    def encode(self, images: Tensor) -> Any:
        latents = self.down(images)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents: Tensor) -> Any:
        return SimpleNamespace(sample=self.up(latents))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", [Half, VQModel, AutoencoderKL])
def test_a_module_of_any_dtype_is_measured(kind: type[nn.Module], dtype: torch.dtype, faces: Dataset) -> None:
    torch.manual_seed(0)
    model = kind()
    expected = values(adapt(model), faces)["mae", None].value
    assert values(adapt(model.to(dtype)), faces)["mae", None].value == pytest.approx(expected, abs=2e-3)


def test_diffusers_vqmodel(faces: Dataset) -> None:
    diffusers = pytest.importorskip("diffusers", reason="extra peers: diffusers is not installed")
    torch.manual_seed(0)
    peer = diffusers.VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        num_vq_embeddings=32,
        latent_channels=4,
    ).eval()
    peer.quantize.embedding.weight.data.normal_()
    model = adapt(peer)
    images = to_model(faces.test.images)
    with torch.no_grad():
        expected = peer(images).sample
        assert torch.allclose(model(images).images, expected, atol=1e-5)
        assert model.encode(images)[0].shape == (24, 8, 8)
        assert torch.allclose(model.decode(model.encode(images)), expected, atol=1e-5)
    rows = values(model, faces)
    assert rows["bits-per-pixel", None].value == 8 * 8 * 5 / 16**2
    assert rows["active-codes", 1].value > 1


def test_diffusers_autoencoder_kl(faces: Dataset) -> None:
    diffusers = pytest.importorskip("diffusers", reason="extra peers: diffusers is not installed")
    torch.manual_seed(0)
    peer = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).eval()
    images = to_model(faces.test.images)
    model = adapt(peer)
    with torch.no_grad():
        expected = peer(images).sample  # sample_posterior=False: the mode
        assert torch.equal(model(images).images, expected)
    rows = values(model, faces)
    assert rows["mae", None].value > 0
    assert rows["bits-per-pixel", None].status == "n/a"


@pytest.mark.parametrize("ema", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_pythae_vqvae(ema: bool, flat: bool, faces: Dataset) -> None:
    models = pytest.importorskip("pythae.models", reason="extra peers: pythae is not installed")
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(3, 6, 4, 4)

        def forward(self, images: Tensor) -> Any:
            return ModelOutput(embedding=self.net(images))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.ConvTranspose2d(6, 3, 4, 4)

        def forward(self, latents: Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(latents)))

    torch.manual_seed(0)
    config = models.VQVAEConfig(input_dim=(3, 16, 16), latent_dim=6, num_embeddings=32, use_ema=ema)
    peer = models.VQVAE(config) if flat else models.VQVAE(config, encoder=Encoder(), decoder=Decoder())
    peer.eval()
    table = peer.quantizer.embeddings
    (table.weight.data if isinstance(table, nn.Embedding) else table).normal_(std=0.1)
    images = to_model(faces.test.images)
    model = adapt(peer)
    with torch.no_grad():
        expected = peer({"data": (images + 1) / 2})
        found = model(images)
        assert torch.allclose(found.images, expected.recon_x * 2 - 1, atol=1e-5)
        assert torch.equal(found.codes[0].flatten(), expected.quantized_indices.flatten())
        assert torch.allclose(model.decode(model.encode(images)), found.images)
    assert values(model, faces)["bits-per-pixel", None].value == (6 if flat else 16) * 5 / 16**2
