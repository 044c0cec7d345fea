"""A run: the training of one model under one seed; its evaluation; and what its model costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from avq.design.task import Task
from avq.fields import departures
from avq.models.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Run(Task):
    """One training of one model.

    Attributes:
        variant: the name it was planned under; not part of its content.
        factory: what builds it, where that is not the suite's autoencoder.
        model: all model settings, resolved, as `build_from_config` takes them.
        data: all data settings, `image_size` resolved.
        images: fingerprint of the images.
        train: training settings as `avq.training.config.effective` gives them, `precision` resolved.
        seed: of data order, initialisation and sampling.
        code: fingerprint of the code that trains.
        stored_as: name of its folder, where an earlier release named it otherwise.
    """

    kind: ClassVar[str] = "train"

    variant: str
    factory: str | None
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    images: str
    train: Mapping[str, Any]
    seed: int
    code: str
    stored_as: str = ""

    @property
    def dataset(self) -> str:
        return str(self.data["dataset"])

    @property
    def image_size(self) -> int:
        return int(self.data["image_size"])

    @property
    def recipe(self) -> Recipe:
        """What its model is built from."""
        return Recipe(self.variant, self.image_size, dict(self.model), self.factory)

    @property
    def content(self) -> dict[str, Any]:
        """Settings of model and training where they depart; those of a factory, whose defaults are its own, all."""
        from avq.training.config import TrainConfig

        return {
            "model": model_content(self.factory, self.model),
            "data": dict(self.data),
            "images": self.images,
            "train": departures(TrainConfig, self.train),
            "seed": self.seed,
        }

    @property
    def label(self) -> str:
        variant = re.sub(r"[^\w.-]", "_", self.variant)  # a plug-in may call its variants what it likes
        return f"{variant}-{self.dataset}-{self.image_size}px-s{self.seed}"

    @property
    def name(self) -> str:
        return self.stored_as or super().name

    def describe(self) -> dict[str, Any]:
        names = ("variant", "factory", "model", "data", "images", "train", "seed")
        values = {name: dict(v) if isinstance(v := getattr(self, name), Mapping) else v for name in names}
        return super().describe() | {"run": self.name, "settings": values}


def model_content(factory: str | None, model: Mapping[str, Any]) -> dict[str, Any]:
    """What a fingerprint holds of a model's settings."""
    from avq.models.config import AutoencoderConfig

    if factory is not None:
        return {"factory": factory, **model}
    return departures(AutoencoderConfig, model)


@dataclass(frozen=True, eq=False)
class Evaluation(Task):
    """The measuring of a run's checkpoint on one split.

    It grows: what is measured under the same code already is not measured again.

    Attributes:
        run: what was trained.
        measures: everything that measures, by its name: `code`, the fingerprint of its code and the versions of its
            metrics, and `weights`, the networks' weights that it has.
        code: fingerprint of the code that brings images, model and measures together.
        allow_small: give Fréchet distances of fewer images than they need, and mark them.
        precision: of the model's passes; "auto" goes by image size and hardware.
    """

    kind: ClassVar[str] = "evaluate"
    grows: ClassVar[bool] = True

    run: Run
    measures: Mapping[str, Mapping[str, Any]]
    code: str
    allow_small: bool = False
    precision: str = "auto"
    split: str = "test"

    @property
    def parents(self) -> tuple[Task, ...]:
        return (self.run,)

    @property
    def content(self) -> dict[str, Any]:
        precision = {} if self.precision == "auto" else {"precision": self.precision}
        return {"split": self.split, "measures": {**self.measures}, "allow_small": self.allow_small} | precision

    @property
    def label(self) -> str:
        return f"evaluation-{self.split}"

    def covered_by(self, done: Mapping[str, Any]) -> bool:
        """Results of more measures serve too, such as of one whose weights are out of reach by now."""
        return not self.missing(done)

    def joined(self, done: Mapping[str, Any]) -> Evaluation:
        """The evaluation that its rows and those of an earlier one, of the same code, are of together."""
        before = done["content"]["measures"]
        kept = {name: entry for name, entry in before.items() if _serves(entry, self.measures.get(name, entry))}
        return replace(self, measures={**self.measures, **kept})

    def missing(self, done: Mapping[str, Any]) -> list[str]:
        """The measures that results with that task.json lack."""
        there = done.get("content", {})
        same = done.get("code") == self.code and there.get("precision", "auto") == self.precision
        if not same or there.get("allow_small", False) < self.allow_small:
            return list(self.measures)
        return [name for name, wanted in self.measures.items() if not _serves(there["measures"].get(name), wanted)]


def _serves(done: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    return done is not None and done["code"] == wanted["code"] and set(done["weights"]) >= set(wanted["weights"])


def run_of(task: Task) -> Run:
    """The run that a task is: of training, its evaluation, or its model's costs."""
    run = getattr(task, "run", task)
    assert isinstance(run, Run)
    return run


@dataclass(frozen=True, eq=False)
class Costs(Task):
    """What a run's model costs, measured alone on a machine: no seed, no images.

    Attributes:
        run: one of the runs of that model.
        machine: the hardware, as `machine_name` returns it.
        code: fingerprint of the code that is measured, and that measures.
    """

    kind: ClassVar[str] = "costs"

    run: Run
    machine: str
    code: str

    @property
    def content(self) -> dict[str, Any]:
        from avq.training.config import step_settings

        names = ("batch_size", "precision")
        step = {name: self.run.train[name] for name in names} | step_settings(self.run.train)
        model = model_content(self.run.factory, self.run.model)
        return {"model": model, "image_size": self.run.image_size, "step": step, "machine": self.machine}

    @property
    def label(self) -> str:
        return f"{self.kind}-{replace(self.run, seed=0).label.rpartition('-')[0]}"


@dataclass(frozen=True, eq=False)
class Forecast(Costs):
    """What a run of that model will take beside as many others as there are workers, from a few steps."""

    kind: ClassVar[str] = "forecast"

    workers: int = 1

    @property
    def content(self) -> dict[str, Any]:
        return super().content | {"workers": self.workers}


@dataclass(frozen=True, eq=False)
class Loading(Forecast):
    """What the loading of a run's images takes."""

    kind: ClassVar[str] = "loading"

    @property
    def content(self) -> dict[str, Any]:
        data, images = dict(self.run.data), self.run.images
        return {"data": data, "images": images, "machine": self.machine, "workers": self.workers}
