"""Ablation files: a question, a base, axes, contrasts; validated strictly (torch-free)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from avq.aliases import current_tree
from avq.design.settings import Match, known_settings
from avq.errors import unknown
from avq.resources import resource_dir
from avq.toml import STRICT, parse, read_toml

Scalar = Annotated[bool | int | float | str, Field(union_mode="smart")]
Value = Scalar | list[Scalar]
Positive = Annotated[float, Field(gt=0)]


class Contrast(BaseModel):
    """A comparison declared beforehand: row `a` against row `b` in one metric (at one level, where it has levels)."""

    model_config = STRICT

    name: str
    a: str
    b: str
    metric: str = "mae"
    level: int | None = None

    @model_validator(mode="after")
    def _of_two_rows(self) -> Contrast:
        if self.a == self.b:
            raise ValueError(f"contrast '{self.name}' compares {self.a} with itself")
        return self


class Statistics(BaseModel):
    """How claims are made: error rates, and per metric the margin within which rows are "as good as".

    `alpha` is that of the contrasts, `regression_alpha` the share of unchanged tables that may fail `check`.
    """

    model_config = STRICT

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    regression_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    margin: dict[str, Positive] = {}


class Budget(BaseModel):
    """What rows have in common; `reference` is the row that others are matched to (default: the first).

    `quality` is the validation MAE whose first reaching gives `time-to-quality`; None: that is not asked.
    """

    model_config = STRICT

    match: Match = "steps"
    reference: str | None = None
    quality: Positive | None = None


class Tune(BaseModel):
    """Learning rates tried for every row on validation images, each for `steps` steps."""

    model_config = STRICT

    learning_rate: Annotated[list[Positive], Field(min_length=2)]
    steps: Annotated[int, Field(gt=0)] = 300


class Ablation(BaseModel):
    """One question, as its file states it. `name` is the file's stem.

    `presets` holds settings for one preset of that name: they stand above the preset's and below `base`.
    """

    model_config = STRICT

    name: str
    question: str
    expected: str
    base: dict[str, Value] = {}
    axes: dict[str, list[Value] | dict[str, Value]] = {}
    rows: list[dict[str, Value]] = []
    contrasts: list[Contrast] = []
    statistics: Statistics = Statistics()
    budget: Budget = Budget()
    tune: Tune | None = None
    smoke: list[str] = []
    presets: dict[str, dict[str, Value]] = {}


def list_ablations() -> list[str]:
    """Names of the ablations that ship with the suite."""
    return sorted(path.stem for path in resource_dir("ablations").glob("*.toml"))


def load_ablation(name: str | Path) -> Ablation:
    """Read an ablation by its name (`ablation_levels`, or `levels`), or from a TOML file.

    Raises:
        UsageError: no such ablation, or a file that breaks the form; one line that names the file.
    """
    path = Path(name)
    if path.suffix != ".toml":
        names = list_ablations()
        short = f"ablation_{name}"
        if str(name) not in names and short not in names:
            raise unknown(
                "ablation",
                str(name),
                names,
                "Give one of these or a path to a .toml file: " + ", ".join(names),
            )
        path = resource_dir("ablations") / f"{name if str(name) in names else short}.toml"
    return parse(Ablation, current_tree(read_toml(path, "ablation file"), known_settings()), path)
