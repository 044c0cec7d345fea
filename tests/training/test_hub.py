"""Tokenizers in the Hugging Face convention: a folder is enough to use one elsewhere, offline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import avq
from avq.errors import UsageError
from avq.models import Tokenizer, create_variant
from avq.training.checkpoint import save_model
from avq.training.hub import PretrainedTokenizer


def trained() -> Tokenizer:
    return create_variant("aren-2-rpa-mean", 16, width=8, codebook_size=16).eval()


def test_a_folder_gives_the_same_tokenizer_back(tmp_path: Path) -> None:
    model, images = trained(), torch.rand(2, 3, 16, 16) * 2 - 1
    PretrainedTokenizer.of(model).save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["variant"], config["image_size"], config["width"]) == ("aren-2-rpa-mean", 16, 8)
    again = PretrainedTokenizer.from_pretrained(tmp_path)
    assert not again.training
    assert (again.codebook_sizes, again.decoder_levels) == (model.codebook_sizes, model.decoder_levels)
    codes = again.encode(images)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(model.encode(images), codes, strict=True))
    assert torch.equal(again.decode(codes), model.decode(codes))
    assert torch.equal(again(images).images, model(images).images)
    assert torch.equal(avq.load_model(tmp_path).decode(codes), model.decode(codes))
    card = ModelCard((tmp_path / "README.md").read_text())
    assert card.data.library_name == "avq-bench"
    assert "avq.PretrainedTokenizer.from_pretrained" in card.text


def test_a_wrapper_shows_what_it_wraps() -> None:
    model = trained()
    wrapper = PretrainedTokenizer.of(model)
    for name in ("find_levels", "find_quantizers", "find_parts", "find_blocks"):
        assert getattr(wrapper, name)() == getattr(model, name)()
    assert wrapper.find_last_weight() is model.find_last_weight()
    assert wrapper.latent_sizes(16) == [(4, 4), (2, 2)]


def test_a_runs_folder_becomes_one(tmp_path: Path) -> None:
    model = trained()
    save_model(model, tmp_path / "checkpoint.safetensors")
    PretrainedTokenizer.of(avq.load_model(tmp_path)).save_pretrained(tmp_path / "out")
    again = PretrainedTokenizer.from_pretrained(tmp_path / "out").model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_no_weights_are_drawn_for_the_face() -> None:
    model = trained()
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    PretrainedTokenizer.of(model)
    assert torch.rand(()) == expected


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    for name in (str(tmp_path / "none"), "nobody/nothing"):
        with pytest.raises(UsageError, match="no tokenizer at") as caught:
            PretrainedTokenizer.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no checkpoint at"):
        PretrainedTokenizer.from_pretrained(tmp_path)


def test_a_model_that_the_zoo_did_not_build_is_refused() -> None:
    model = trained()
    model.recipe = None
    with pytest.raises(UsageError, match="only a tokenizer that avq built"):
        PretrainedTokenizer.of(model)
