"""One run in one process: build, train, evaluate, record. What it needs is imported where it is used."""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avq.errors import AvqError, UsageError
from avq.experiments.code_hash import code_of_evaluation
from avq.experiments.environment import describe_environment, machine_name
from avq.experiments.record import (
    DiskError,
    disk_error,
    failed_record,
    is_failure,
    record_frame,
    to_csv,
    typed,
    write_atomic,
)
from avq.experiments.store import Store, lock, read_json, write_json
from avq.metrics.weights import ENVIRONMENT_VARIABLE, available

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.data.sources import Dataset
    from avq.experiments.plan import Run
    from avq.metrics.measurement import Measurement
    from avq.models.tokenizer import Tokenizer
    from avq.training.trainer import History, Progress

CHECKPOINT, LOG, RECORD = "checkpoint.safetensors", "log.csv", "record.csv"
TIMED_COSTS = ("train-images-per-s", "inference-images-per-s", "peak-memory")
STATE_FILE = "state.safetensors"  # the trainer's; named here so that a parent need not import torch


@dataclass(frozen=True)
class Job:
    """A run and where it is to be carried out.

    Attributes:
        root: the store's folder.
        evaluation: hash of the code that measures, as the command saw it.
        weights: names of the networks' weights that metrics find.
        weights_dir: folder that the user named for them: a process does not see the command's environment.
        allow_small: give Fréchet distances of fewer images than they need, and mark them.
        fresh: forget what is there.
    """

    run: Run
    root: Path
    data_root: Path | None
    device: str
    evaluation: str
    plugins: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    weights_dir: Path | None = None
    allow_small: bool = False
    fresh: bool = False

    @property
    def measures(self) -> Measures:
        return Measures(self.evaluation, self.weights, self.allow_small)


@dataclass(frozen=True)
class Measures:
    """What a run is measured with: the code, the weights that it finds, and whether small sets are allowed."""

    code: str
    weights: tuple[str, ...] = ()
    allow_small: bool = False

    def satisfied_by(self, folder: Path) -> bool:
        """Whether a run's measurements lack nothing of this; they may hold more, such as weights now out of reach."""
        made = read_json(folder / "evaluation.json")
        there = set(self.weights) <= set(made.get("weights", ()))
        return made.get("code") == self.code and there and made.get("allow_small", False) >= self.allow_small


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `busy` means that another command has the run, `disk` that nothing can be written."""

    kind: Literal["done", "busy", "failed", "disk"]
    text: str = ""


def run_job(job: Job) -> Outcome:
    """Carry a run out, or go on with it, under its lock; a failure becomes its record."""
    store = Store(job.root)
    folder = store.folder(job.run)
    try:
        with lock(folder) as mine:
            return _locked(job, store, folder) if mine else Outcome("busy")
    except DiskError as error:
        return Outcome("disk", str(error))


def _locked(job: Job, store: Store, folder: Path) -> Outcome:
    try:
        if job.fresh:
            store.clear(job.run)
        record = store.record(job.run)
        finished = record is not None and not is_failure(record)
        if finished and job.measures.satisfied_by(folder):
            return Outcome("done", "reused")
        prepare(job)
        if finished and record is not None and _is_whole(folder / CHECKPOINT):
            _evaluate_again(job, store, folder, record)
        else:
            _train(job, store, folder)
    except DiskError:
        raise
    except AvqError as error:
        if _has_diverged(error):  # going on from the state would only meet the same step again
            with suppress(OSError):
                (folder / STATE_FILE).unlink(missing_ok=True)
        return fail(job, store, folder, str(error))
    except Exception as error:
        _raise_if_disk(folder, error)
        with suppress(DiskError):
            write_atomic(folder / "error.log", traceback.format_exc())
        return fail(job, store, folder, f"{type(error).__name__}: {error} (see {folder / 'error.log'})")
    return Outcome("done")


def measures_now(allow_small: bool = False) -> Measures:
    """What this command measures with."""
    return Measures(code_of_evaluation(), available(), allow_small)


def is_finished(store: Store, run: Run, measures: Measures) -> bool:
    """Whether there is nothing left to do for a run: it did not fail, and its metrics lack nothing."""
    return store.finished(run) and measures.satisfied_by(store.folder(run))


def fail(job: Job, store: Store, folder: Path, reason: str) -> Outcome:
    """Write a failed record, unless there is a finished one: then only its new evaluation failed, and it stays.

    A later command tries again whatever failed.
    """
    if store.finished(job.run):
        _progress_state(folder, "done", reason=reason)
    else:
        store.write_record(folder, failed_record(job.run, reason, machine_name(job.device)))
        _progress_state(folder, "failed", reason=reason)
    return Outcome("failed", reason)


def _has_diverged(error: AvqError) -> bool:
    from avq.training.diagnose import NonFiniteLoss

    return isinstance(error, NonFiniteLoss)


def prepare(job: Job) -> None:
    """In the job's process: import the modules that register its variants, and name the folder of weights."""
    from avq.models.zoo import load_plugin

    if job.weights_dir is not None:
        os.environ[ENVIRONMENT_VARIABLE] = str(job.weights_dir)
    for plugin in job.plugins:
        load_plugin(plugin)


def build_model(run: Run) -> Any:
    """The run's model, initialised by its seed."""
    import torch

    from avq.models.zoo import build_from_config
    from avq.training.seeds import derive_seed

    torch.manual_seed(derive_seed(run.seed, "initialisation"))
    return build_from_config(run.variant, run.image_size, dict(run.model))


def _train(job: Job, store: Store, folder: Path) -> None:
    """Train, or take what a training left whole, and evaluate."""
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.training.checkpoint import load_model

    run = job.run
    (folder / RECORD).unlink(missing_ok=True)  # that of a failure, or a damaged one
    write_json(folder / "config.json", run.describe())
    write_json(folder / "environment.json", describe_environment(job.device))
    _progress_state(folder, "starting")
    dataset = load_dataset(DataConfig(**run.data), job.data_root)
    history = _kept_history(run, folder)
    if history is None:
        model, history = _trained(job, folder, dataset)
    else:
        model = load_model(folder / CHECKPOINT)
    _progress_state(folder, "evaluating")
    measured, images = evaluate(model, dataset, "test", device=job.device, allow_small=job.allow_small)
    rows = [*_of_training(job, history, model), *_test(measured)]
    _finish(job, store, folder, record_frame(run, rows, machine_name(job.device)), images)


def _trained(job: Job, folder: Path, dataset: Dataset) -> tuple[Tokenizer, History]:
    """Train, and keep at once what a later process needs to evaluate without training."""
    import pandas as pd

    from avq.training.checkpoint import save_model
    from avq.training.config import TrainConfig
    from avq.training.trainer import train

    run, state = job.run, folder / STATE_FILE
    if state.exists() and not _is_whole(state):
        state.unlink()
    model = build_model(run)
    history = train(
        model, dataset, TrainConfig(**run.train), run.seed,
        folder=folder, on_progress=progress_writer(folder), device=job.device, variant=run.variant,
    )  # fmt: skip
    write_atomic(folder / LOG, to_csv(pd.DataFrame(history.rows)))
    save_model(model, folder / CHECKPOINT, variant=run.variant, image_size=run.image_size, config=dict(run.model))
    return model, history


def _kept_history(run: Run, folder: Path) -> History | None:
    """The curve of a training whose log and checkpoint are whole; None where it must be trained.

    The log's last point is the last step's, so that its seconds are the training's. A floor has no points: it is
    fitted again, which takes seconds.
    """
    import pandas as pd

    from avq.training.trainer import History

    try:
        rows = pd.read_csv(folder / LOG, float_precision="round_trip").to_dict("records")
    except (OSError, ValueError):
        return None
    wanted = {"step", "seconds", "validation-mae"}
    if not rows or not wanted <= rows[-1].keys() or rows[-1]["step"] != run.train["steps"]:
        return None
    return History(rows, rows[-1]["seconds"]) if _is_whole(folder / CHECKPOINT) else None


def _is_whole(path: Path) -> bool:
    """Whether a file of weights is there and is what its checksum says."""
    from avq.training.checkpoint import read_tensors

    try:
        read_tensors(path)
    except UsageError:
        return False
    return True


def _of_training(job: Job, history: History, model: Tokenizer) -> list[tuple[str, Measurement]]:
    """What training measured; `training-time` bears the remarks on its curve."""
    from avq.metrics.measurement import measured, protocol_id
    from avq.training.diagnose import remarks

    device = job.device.partition(":")[0]
    time_protocol = protocol_id("training-time", device=device, threads=1)
    remark = "; ".join(remarks(history.rows, model.num_codes))
    rows = [("train", measured("training-time", history.seconds, protocol=time_protocol, reason=remark))]
    if history.rows:
        protocol = protocol_id("validation-mae", data=job.run.fingerprint, precision=job.run.train["precision"])
        rows.append(("validation", measured("validation-mae", history.rows[-1]["validation-mae"], protocol=protocol)))
    return rows


def _test(measured: list[Measurement]) -> list[tuple[str, Measurement]]:
    return [("test", measurement) for measurement in measured]


def _evaluate_again(job: Job, store: Store, folder: Path, record: DataFrame) -> None:
    """The metrics changed: measure the kept checkpoint. What training recorded stays."""
    import pandas as pd

    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.training.checkpoint import load_model

    _progress_state(folder, "evaluating")
    dataset = load_dataset(DataConfig(**job.run.data), job.data_root)
    model = load_model(folder / CHECKPOINT)
    measured, images = evaluate(model, dataset, "test", device=job.device, allow_small=job.allow_small)
    new = record_frame(job.run, _test(measured), machine_name(job.device))
    (folder / "evaluation.json").unlink(missing_ok=True)  # the new hash must never stand beside the old record
    _finish(job, store, folder, pd.concat([record[record["split"] != "test"], new], ignore_index=True), images)


def _finish(job: Job, store: Store, folder: Path, record: DataFrame, images: DataFrame) -> None:
    write_atomic(folder / "per_image.parquet", images.to_parquet(index=False))
    measures = asdict(job.measures)
    if store.record(job.run) is None:
        write_json(folder / "evaluation.json", measures)
        store.write_record(folder, record)
    else:
        store.write_record(folder, record)
        write_json(folder / "evaluation.json", measures)
    with suppress(OSError):
        (folder / STATE_FILE).unlink(missing_ok=True)
    _progress_state(folder, "done", steps=job.run.train["steps"], step=job.run.train["steps"])


def progress_writer(folder: Path) -> Callable[[Progress], None]:
    """A callback for `train` that keeps the run's progress.json up to date."""

    def write(progress: Progress) -> None:
        _progress_state(folder, "training", **asdict(progress))

    return write


def cost_job(job: Job) -> DataFrame:
    """The quiet pass of one model: what its structure tells, and what is timed. No seed, no split."""
    from avq.evaluation.cost import deterministic_costs, quiet_costs
    from avq.training.config import TrainConfig

    prepare(job)
    run = job.run
    # Timed first: the counting's own memory would raise the peak.
    timed = quiet_costs(run.variant, dict(run.model), run.image_size, TrainConfig(**run.train), job.device)
    counted = deterministic_costs(build_model(run), run.image_size)
    frame = record_frame(run, [("", m) for m in [*counted, *timed]], machine_name(job.device))
    return typed(frame.assign(seed=None))


def failed_costs(run: Run, reason: str, machine: str) -> DataFrame:
    """The record of a model whose costs could not be measured: a row of status `failed` for each that is timed."""
    from avq.metrics.measurement import Measurement

    line = " ".join(reason.split())
    rows = [("", Measurement(metric=name, value=None, unit="", status="failed", reason=line)) for name in TIMED_COSTS]
    return typed(record_frame(run, rows, machine).assign(seed=None))


def _progress_state(folder: Path, state: str, **more: Any) -> None:
    write_json(folder / "progress.json", {"state": state, "updated": time.time(), **more}, durable=False)


def _raise_if_disk(folder: Path, error: Exception) -> None:
    """Libraries wrap what the disk says in errors of their own."""
    full = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in full:
        raise disk_error(folder, error) from None
    for words, number in (("No space left", errno.ENOSPC), ("Read-only file system", errno.EROFS)):
        if words in str(error):
            raise disk_error(folder, OSError(number, words)) from None
