"""Ablation files: a question, a base, axes, contrasts; validated strictly (torch-free)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avq.design.settings import Match
from avq.errors import AvqError, UsageError, unknown
from avq.resources import resource_dir

Scalar = Annotated[bool | int | float | str, Field(union_mode="smart")]
Value = Scalar | list[Scalar]
Positive = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Contrast(_Strict):
    """A comparison declared beforehand: row `a` against row `b` in one metric (at one level, where it has levels)."""

    name: str
    a: str
    b: str
    metric: str = "mae"
    level: int | None = None


class Statistics(_Strict):
    """How claims are made: error rates, and per metric the margin within which rows are "as good as".

    `alpha` is that of the contrasts, `regression_alpha` the share of unchanged tables that may fail `check`.
    """

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    regression_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    margin: dict[str, Positive] = {}


class Budget(_Strict):
    """What rows have in common; `reference` is the row that others are matched to (default: the first).

    `quality` is the validation MAE whose first reaching gives `time-to-quality`; None: that is not asked.
    """

    match: Match = "steps"
    reference: str | None = None
    quality: Positive | None = None


class Tune(_Strict):
    """Learning rates tried for every row on validation images, each for `steps` steps."""

    learning_rate: Annotated[list[Positive], Field(min_length=2)]
    steps: Annotated[int, Field(gt=0)] = 300


class Ablation(_Strict):
    """One question, as its file states it. `name` is the file's stem.

    `presets` holds settings for one preset of that name: they stand above the preset's and below `base`.
    """

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


_SECTIONS: dict[str, type[BaseModel]] = {
    "contrasts": Contrast,
    "statistics": Statistics,
    "budget": Budget,
    "tune": Tune,
}


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
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no ablation file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None
    except OSError as error:
        raise AvqError(f"cannot read {path}: {error.strerror}.") from None
    return parse_ablation(raw, path)


def parse_ablation(raw: dict[str, Any], path: Path) -> Ablation:
    """Validate a file's content; `path` is named in errors. Errors as `load_ablation`."""
    if "name" in raw:
        raise unknown(f"key in {path}:", "name", set(Ablation.model_fields) - {"name"})
    try:
        return Ablation(name=path.stem, **raw)
    except ValidationError as error:
        raise _one_line(error, path) from None


def _one_line(error: ValidationError, path: Path) -> UsageError:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("list[union[bool,int,float,str]]",)]
    if first["type"] == "extra_forbidden":
        section = _SECTIONS.get(where[0], Ablation) if len(where) > 1 else Ablation
        place = f" [{where[0]}]" if len(where) > 1 else ""
        return unknown(
            f"key in {path}{place}:",
            where[-1],
            set(section.model_fields) - {"name"} if section is Ablation else set(section.model_fields),
        )
    if first["type"] == "missing":
        return UsageError(f"{path}: key '{'.'.join(where)}' is missing.")
    plain = ".".join(part for part in where if "[" not in part and part not in ("bool", "int", "float", "str"))
    return UsageError(f"{path}: {plain} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}.")
