from __future__ import annotations

import click
import pytest

from avq.cli.options import Parsed, read_names, read_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("0,4,7", (0, 4, 7)), ("4,", (4,)), ("1", (0,)), ("0,", (0,))]
)
def test_seeds(text, seeds):
    assert Parsed(read_seeds).convert(text, None, None) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1,x", "1,1", "1.5", ",", "1000000000"])
def test_seeds_that_are_none(text):
    with pytest.raises(click.BadParameter):
        Parsed(read_seeds).convert(text, None, None)


def test_names_keep_the_brackets_of_a_row():
    assert read_names("a, b[x=1,y=2],c") == ("a", "b[x=1,y=2]", "c")


def test_settings_are_read_as_toml(call):
    shown = call("show", "ablation_levels", "--set", "learning_rate=5e-4", "--set", "loss=mse", "--format", "csv")
    assert shown.exit_code == 0, shown.stderr
    assert "loss,mse,--set" in shown.stdout
    assert "learning_rate,0.0005,--set" in shown.stdout


@pytest.mark.parametrize("bad", ["steps", "=5", "stepps=5"])
def test_settings_that_are_none(call, bad):
    call("show", "ablation_levels", "--set", bad, code=2, says="--set")
