"""Checkpoints: whole, safe, and clear about what they are not."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avq.errors import UsageError
from avq.models import create_variant
from avq.training.checkpoint import checkpoint_info, current_names, load_model, save_model, write_tensors


def saved(path: Path) -> Path:
    save_model(create_variant("aren-1", width=4, codebook_size=4), path)
    return path


def test_it_says_what_it_holds(tmp_path: Path) -> None:
    info = checkpoint_info(saved(tmp_path / "m.safetensors"))
    assert info["variant"] == "aren-1"
    assert info["config"]["width"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert not load_model(tmp_path / "m.safetensors").training


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_a_pickle_is_refused_unopened(in_empty_folder: Path) -> None:
    path = in_empty_folder / "model.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UsageError, match="not a safetensors checkpoint"):
        load_model(path)
    assert not (in_empty_folder / "exploded").exists()


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint at"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="no checkpoint at"):
        load_model(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, foreign)
    with pytest.raises(UsageError, match="was not written by avq-bench"):
        load_model(foreign)


@given(st.data())
@settings(max_examples=40)
def test_a_damaged_file_is_one_clear_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = saved(tmp_path_factory.mktemp("c") / "m.safetensors")
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    whole.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_model(whole)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = create_variant("aren-1", width=4, codebook_size=4)
    model.recipe = create_variant("aren-1", width=8, codebook_size=4).recipe
    save_model(model, path)
    with pytest.raises(UsageError, match="does not hold a model of this avq-bench"):
        load_model(path)


@pytest.mark.parametrize("variant", ["aren-2", "patch-kmeans"])
def test_a_checkpoint_of_the_first_release_is_read(variant: str, tmp_path: Path) -> None:
    """It spelt quantizers otherwise and did not write the factory."""
    model = create_variant(variant, width=4, codebook_size=4)
    assert model.recipe is not None
    about = {key: value for key, value in model.recipe._asdict().items() if key != "factory"}
    about["config"] = {key: value for key, value in about["config"].items() if key != "quantizer"}
    tensors = {name.replace("quantizers.", "quantisers."): tensor for name, tensor in model.state_dict().items()}
    write_tensors(tmp_path / "checkpoint.safetensors", tensors, about)
    again = load_model(tmp_path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_a_plug_ins_variant_is_built_from_the_file_alone(tmp_path: Path) -> None:
    """The factory is read there, so that the zoo's table need not have the variant."""
    model = create_variant("patch-kmeans", codebook_size=4)
    assert model.recipe is not None
    model.recipe = model.recipe._replace(variant="gone")
    save_model(model, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").codebook_sizes == [4]


def test_names_are_respelt_only_where_the_module_has_no_such_name() -> None:
    own = torch.nn.ModuleDict({"quantisers": torch.nn.Linear(1, 1)})
    assert current_names(dict(own.state_dict()), own).keys() == own.state_dict().keys()
