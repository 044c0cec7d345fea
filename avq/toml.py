"""TOML files as validated models; every error is one line that names the file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from avq.errors import AvqError, UsageError, unknown

M = TypeVar("M", bound=BaseModel)

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
"""`model_config` of a part of a file: immutable, without unknown keys, values never converted."""

_OF_UNIONS = re.compile(r"bool|int|float|str|.*\[.*\]")


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a file; `what` describes it in errors, such as "ablation file".

    Raises:
        UsageError: the file does not exist, or is not TOML.
        AvqError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no {what} {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None
    except OSError as error:
        raise AvqError(f"cannot read {path}: {error.strerror}.") from None


def parse(model: type[M], values: dict[str, Any], path: Path) -> M:
    """The content of the file at `path` as a model whose `name` is the file's stem.

    Raises:
        UsageError: a key that is unknown (with the nearest suggested) or missing, or an invalid value.
    """
    if "name" in values:
        raise unknown(f"key in {path}:", "name", model.model_fields.keys() - {"name"})
    try:
        return model.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise _one_line(error, model, path) from None


def _one_line(error: ValidationError, model: type[BaseModel], path: Path) -> UsageError:
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a misspelled key is missing too
    where = [str(part) for part in first["loc"] if not _OF_UNIONS.fullmatch(str(part))]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        part = _model_in(model.model_fields[where[0]].annotation) if len(where) > 1 else None
        place = f" [{where[0]}]" if part else ""
        known = part.model_fields.keys() if part else model.model_fields.keys() - {"name"}
        return unknown(f"key in {path}{place}:", where[-1], known)
    if first["type"] == "missing":
        return UsageError(f"{path}: key '{key}' is missing.")
    if first["type"] == "literal_error":
        return unknown(f"{key} in {path}:", str(first["input"]), re.findall(r"'(.*?)'", first["ctx"]["expected"]))
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"{path}: {key} = {first['input']!r}: {message[0].lower()}{message[1:]}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in a field's type, also within a list or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
