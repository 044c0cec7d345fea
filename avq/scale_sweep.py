"""`avq-bench scale`: how attention, and whole variants, grow with the latent; one process a point, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avq.design.parts import rates_code, scaling_code
from avq.design.scale_point import MachineRates, ScalePoint
from avq.design.task import canonical, fingerprint_of
from avq.errors import AvqError, UsageError, unknown
from avq.execution.local import call_alone
from avq.files import write_json
from avq.machine import cores, describe_environment, machine_name
from avq.store.experiment import write_experiment
from avq.store.layout import Store
from avq.store.scale_table import long_table
from avq.tasks.events import Event, OnEvent

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.profiling.scaling import Outcome, Point, Prediction

SIZES = (16, 32, 64)
SIMILARITIES = ("sigmoid", "softmax")
IMPLEMENTATIONS = ("dense", "linear")
CHANNELS, BATCH, REPEATS = 128, 1, 3


def scale(
    latent_sizes: Sequence[int] = SIZES,
    *,
    similarities: Sequence[str] = SIMILARITIES,
    implementations: Sequence[str] = IMPLEMENTATIONS,
    variants: Sequence[str] = (),
    passes: Sequence[str] | None = None,
    channels: int = CHANNELS,
    filters: int | None = None,
    batch_size: int = BATCH,
    repeats: int = REPEATS,
    threads: int | None = None,
    output: str | Path = "avq-runs",
    device: str = "auto",
    fresh: bool = False,
    on_event: OnEvent | None = None,
) -> DataFrame:
    """Measure memory and time of the attention layer, and of variants, at every size; keep them in the store.

    A point that was measured before, on this machine with this code, is not measured again. One that would not fit
    into the memory that is free is not tried: its row says so.

    Args:
        latent_sizes: sides of the latent, in pixels.
        similarities: of the layer; a variant has its own.
        implementations: of layer and variants.
        variants: whole models too, at images four times as wide as their (bottom) latent.
        passes: `forward`, `training-step` (forward and backward; of a variant with the optimiser); both by default.
        channels: of the layer's latent.
        filters: of the layer's g1 and g2; as many as channels by default.
        batch_size: images at once.
        repeats: measured calls.
        threads: of the CPU; all cores by default.
        output: the store.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        fresh: measure again what is there.
        on_event: is called with every point.

    Returns:
        Long form, with the axes `latent_size, similarity, implementation, pass`; it is the experiment's table too.

    Raises:
        UsageError: something that does not exist or does not fit.
        AvqError: the disk takes nothing more, or the user stopped it; what was measured is stored.
    """
    from avq.models import attention
    from avq.profiling.scaling import PASSES, Point
    from avq.training.precision import resolve_device

    device = resolve_device(device)
    _check(latent_sizes, batch_size=batch_size, channels=channels, filters=filters, repeats=repeats, threads=threads)
    passes = _known("pass", passes or PASSES, PASSES)
    implementations = _known("implementation", implementations, attention.IMPLEMENTATIONS)
    similarities = _known("similarity", similarities, _similarities())
    common: dict[str, Any] = {"batch_size": batch_size, "repeats": repeats, "threads": threads or cores(),
                              "device": device}  # fmt: skip
    layer = {"subject": "attention", "channels": channels, "filters": filters or channels, "model": {}}
    subjects = [(layer, similarities), *(_variant(name, latent_sizes) for name in variants)]
    points = [
        Point(latent_size=size, similarity=similarity, implementation=implementation if similarity else "",
              part=part, **subject, **common)
        for size in sorted(latent_sizes)
        for subject, own in subjects
        for similarity in own
        for implementation in (implementations if similarity else implementations[:1])
        for part in passes
    ]  # fmt: skip
    lists = {"latent-sizes": latent_sizes, "similarities": similarities, "implementations": implementations,
             "passes": passes}  # fmt: skip
    words = [f"--{name} {','.join(map(str, values))}" for name, values in lists.items()]
    words += [f"--variant {name}" for name in variants]
    given = {"channels": (channels, CHANNELS), "filters": (filters, None), "batch-size": (batch_size, BATCH),
             "repeats": (repeats, REPEATS), "threads": (threads, None)}  # fmt: skip
    words += [f"--{name} {value}" for name, (value, usual) in given.items() if value != usual]
    command = " ".join(["avq-bench scale", *words, f"--device {device} --output {output}"])
    return _Points(Store(output), points, fresh, on_event or (lambda _event: None), command).carry_out()


def _check(latent_sizes: Sequence[int], **numbers: int | None) -> None:
    if not latent_sizes or len(set(latent_sizes)) < len(latent_sizes):
        raise UsageError(f"latent sizes must be there, and each once: {list(latent_sizes)}.")
    for name, value in {**numbers, "latent size": min(latent_sizes)}.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}.")


def _known(kind: str, names: Sequence[str], options: Sequence[str]) -> list[Any]:
    for name in names:
        if name not in options:
            raise unknown(kind, name, options)
    return list(dict.fromkeys(names))


def _similarities() -> tuple[str, ...]:
    from typing import get_args, get_type_hints

    from avq.models.config import AutoencoderConfig

    return get_args(get_type_hints(AutoencoderConfig)["similarity"])


def _variant(name: str, latent_sizes: Sequence[int]) -> tuple[dict[str, Any], list[str]]:
    """What a variant's points have in common, and its similarity as a list (empty text without attention)."""
    from avq.models.config import AutoencoderConfig
    from avq.models.tokenizer import check_image_size
    from avq.models.zoo import variant_config, variant_entry
    from avq.profiling.scaling import STRIDE
    from avq.profiling.scaling_variants import variant_attention

    if variant_entry(name).factory is not None:
        raise UsageError(f"{name} is no variant of the built-in autoencoder: its latents cannot be given a size.")
    settings = variant_config(name)
    config = AutoencoderConfig(**settings)
    for size in latent_sizes:
        try:
            check_image_size(size * STRIDE, config.stride)
        except UsageError:
            step = config.stride // STRIDE
            raise UsageError(f"{name} has {config.levels} levels: its latent size must be a multiple of {step}, "
                             f"not {size}.") from None  # fmt: skip
    return {"subject": name, "channels": 0, "filters": 0, "model": settings}, [variant_attention(config)]


class _Points:
    """The points of one command."""

    def __init__(self, store: Store, points: Sequence[Point], fresh: bool, report: OnEvent, command: str) -> None:
        self.command = command
        self.store, self.points, self.fresh, self.report = store, points, fresh, report
        self.device = points[0].device
        self.machine = machine_name(self.device)
        self.tasks = {point: ScalePoint(point, self.machine, scaling_code(point.model)) for point in points}
        self.outcomes: dict[Point, Outcome] = {}
        self.predictions: dict[Point, Prediction] = {}

    def carry_out(self) -> DataFrame:
        from avq.profiling.scaling import Outcome, Prediction

        self.store.prepare()
        for point, task in () if self.fresh else self.tasks.items():
            if self.store.finished(task):
                found = self.store.result(task)
                self.outcomes[point] = Outcome(**_tuples(found["outcome"]))
                self.predictions[point] = Prediction(**found["prediction"])
        missing = [point for point in self.points if point not in self.outcomes]
        if self.outcomes:
            self._say(f"reusing {len(self.outcomes)} of {len(self.points)} points that were measured before")
        try:
            self._predict(missing)
            for point in missing:
                self._measure(point)
                self._write()
        except KeyboardInterrupt:
            measured = len(self.outcomes)
            self._write()
            raise AvqError(f"stopped; {measured} of {len(self.points)} points are measured and stored: give the same "
                           "command again to resume.") from None  # fmt: skip
        return self._write()

    def _predict(self, points: Sequence[Point]) -> None:
        from avq.profiling.counting import Rates
        from avq.profiling.scaling import predict_points

        if not points:
            return
        self._say(f"counting {len(points)} points")
        task = MachineRates(self.machine, self.device, self.points[0].threads, rates_code())
        known = not self.fresh and self.store.finished(task)
        before = Rates(**self.store.result(task)) if known else None
        found, rates = call_alone(predict_points, list(points), before)
        self.store.write_result(task, asdict(rates))
        self.predictions |= dict(zip(points, found, strict=True))

    def _measure(self, point: Point) -> None:
        from avq.metrics.format import format_value
        from avq.profiling.scaling import Outcome, measure_point

        prediction = self.predictions[point]
        try:
            outcome = call_alone(measure_point, point, prediction)
        except AvqError as error:
            outcome = Outcome(reason=str(error).partition(";")[0], failed=True)
        self.outcomes[point] = outcome
        if outcome.reason:
            said = outcome.reason
        else:
            result = {"outcome": asdict(outcome), "prediction": asdict(prediction)}
            self.store.write_result(self.tasks[point], result)
            memory = f"{format_value('attention-memory', max(outcome.memory))} MiB, " if outcome.memory else ""
            said = f"{memory}{format_value('attention-time', min(outcome.seconds))} s"
        self._say(f"[{len(self.outcomes)}/{len(self.points)}] {point.label}: {said}")

    def _say(self, text: str) -> None:
        self.report(Event("message", text=text))

    def _write(self) -> DataFrame:
        """The table of what there is, in the experiment's folder."""
        name = experiment_name(self.points)
        done = [self.tasks[point] for point in self.points if point in self.outcomes]
        table = long_table(done, self.predictions, self.outcomes, name)
        folder = self.store.experiments / name
        about = {"experiment": name, "command": self.command, "points": [asdict(point) for point in self.points]}
        write_experiment(folder, about, table)
        write_json(folder / "environment.json", describe_environment(self.device))
        return table


def experiment_name(points: Sequence[Point]) -> str:
    """`scale-cpu`, and a hash of what is not by default, but for sizes, similarities, implementations and passes."""
    device = points[0].device.partition(":")[0]
    varied: dict[str, Any] = {"latent_size": 0, "similarity": "", "implementation": "", "part": "forward"}
    asked = {canonical(asdict(replace(point, **varied, device=device))) for point in points}
    usual = replace(points[0], subject="attention", **varied, batch_size=BATCH, channels=CHANNELS, filters=CHANNELS,
                    repeats=REPEATS, threads=cores(), device=device, model={})  # fmt: skip
    if asked == {canonical(asdict(usual))}:
        return f"scale-{device}"
    return f"scale-{device}-{fingerprint_of(sorted(asked))[:8]}"


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
