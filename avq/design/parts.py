"""Which code a task is made of: its entry, and the parts that its content names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from avq.design.code import code_fingerprint
from avq.models.recipe import parts_of

if TYPE_CHECKING:
    from avq.design.run import Run

_TRAINING = ("avq.training.fresh", "avq.training.trainer", "avq.data.sources")
_EVALUATION = ("avq.evaluation.evaluate", "avq.training.checkpoint")


def training_code(factory: str | None, model: Mapping[str, Any], train: Mapping[str, Any], dataset: str) -> str:
    """Fingerprint of the code that trains such a model with such settings on such images.

    Raises:
        UsageError: the factory's module cannot be found, or there is no such dataset.
    """
    from avq.data.cards import get_card, reader
    from avq.training.config import training_parts

    return _of([*_TRAINING, reader(get_card(dataset)), *parts_of(factory, model), *training_parts(train)])


def code_now(run: Run) -> str:
    """The fingerprint of the code that would train a run now. Errors as `training_code`."""
    return training_code(run.factory, run.model, run.train, run.dataset)


def cost_code(run: Run) -> str:
    """Fingerprint of the code whose costs are measured, and that measures them."""
    from avq.training.config import training_parts

    return _of(["avq.profiling.cost", *parts_of(run.factory, run.model), *training_parts(run.train)])


def forecast_code(run: Run) -> str:
    """Fingerprint of the code whose time and memory are foreseen, and that measures them."""
    from avq.training.config import training_parts

    return _of(["avq.profiling.few_steps", *parts_of(run.factory, run.model), *training_parts(run.train)])


def loading_code(dataset: str) -> str:
    """Fingerprint of the code that measures the loading of images."""
    from avq.data.cards import get_card, reader

    return _of(["avq.profiling.few_steps", reader(get_card(dataset))])


def scaling_code(model: Mapping[str, Any]) -> str:
    """Fingerprint of the code that `scale` measures, and measures with: of the attention layer, or of a variant."""
    variant = ["avq.profiling.scaling_variants", *parts_of(None, model)] if model else []
    return _of(["avq.profiling.scaling", *variant])


def rates_code() -> str:
    """Fingerprint of the code that measures how fast a machine is."""
    return _of(["avq.profiling.counting"])


def evaluation_code(run: Run) -> str:
    """Fingerprint of the code that brings images, model and measures together, and of whether the images show faces.

    The model's code is that of today, which may not be what a run kept as stale was trained by.
    """
    from avq.data.cards import get_card, reader

    card = get_card(run.dataset)
    code = _of([*_EVALUATION, reader(card), *parts_of(run.factory, run.model)])
    return f"{code}-faces" if card.shows_faces else code


def measure_code(*measures: str) -> str:
    """Fingerprint of what measures, and of what it is given by others, named as "module:callable"."""
    return _of(measures)


def _of(parts: Iterable[str]) -> str:
    return code_fingerprint(tuple(sorted(set(parts))))
