"""Names of the first release are read; those that a plug-in gives its own settings stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from avq.aliases import SETTINGS, current_label, current_settings, current_tree
from avq.design.ablation import load_ablation
from avq.design.settings import known_settings, parse_assignments
from avq.errors import UsageError
from avq.models.zoo import VARIANTS, create_variant, register_variant

FILE = 'question="q"\nexpected="e"\nbase={variant="aren-1",dim=8}\n[axes]\nfilters=[1,4]\n[[contrasts]]\nname="n"\n' \
       'a="aren-1[filters=1]"\nb="aren-1[filters=4]"\n'  # fmt: skip


def test_every_old_name_has_one_of_today() -> None:
    assert set(SETTINGS.values()) <= known_settings()
    assert not SETTINGS.keys() & known_settings()


def test_files_may_have_old_names(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text(FILE)
    ablation = load_ablation(tmp_path / "old.toml")
    assert ablation.base == {"variant": "aren-1", "code_dim": 8}
    assert list(ablation.axes) == ["attention_dim"]
    assert ablation.contrasts[0].a == "aren-1[attention_dim=1]"


def test_a_plug_ins_own_settings_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VARIANTS, "_entries", dict(VARIANTS))
    register_variant("patches", "of mine", factory="my_model:Patches", dim=32)
    (tmp_path / "mine.toml").write_text('question="q"\nexpected="e"\n[[rows]]\nvariant="patches"\ndim=16\n')
    assert load_ablation(tmp_path / "mine.toml").rows == [{"variant": "patches", "dim": 16}]
    assert current_settings({"dim": 3}, "my_model:Patches") == {"dim": 3}
    assert current_tree({"a": ["x[dim=3]"]}, {"dim"}) == {"a": ["x[dim=3]"]}


def test_a_label_changes_where_it_names_a_setting() -> None:
    assert current_label("dim[dim=4,loss=mse,num_codes=8]") == "dim[code_dim=4,loss=mse,codebook_size=8]"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_people_are_given_the_new_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}': it is called '{SETTINGS[name]}' now"):
        parse_assignments([f"{name}=1"])
    if name in ("num_codes", "dim", "filters", "trunk"):
        with pytest.raises(UsageError, match=f"it is called '{SETTINGS[name]}' now"):
            create_variant("aren-1", **{name: 1})
