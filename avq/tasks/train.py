"""Training a run, or taking what a training left whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from avq.design.parts import code_now
from avq.design.run import Run
from avq.design.task import Task
from avq.errors import AvqError, UsageError
from avq.files import write_atomic, write_json
from avq.machine import describe_environment, machine_name
from avq.store.layout import LOG, RECORD, TASK, Store, forget_children, is_as_written, write_progress
from avq.store.record import failed_cell, of_run, record_frame, to_csv
from avq.tasks.images import images_of
from avq.tasks.job import Job
from avq.tasks.watch import PointWriter
from avq.training.config import CHECKPOINT_FILE, STATE_FILE

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.metrics.measurement import Measurement
    from avq.models.tokenizer import Tokenizer
    from avq.training.trainer import History, Progress


TRAINED: set[Path] = set()
"""Folders of the runs that this process trained to their end."""


def carry_out(job: Job, store: Store, folder: Path) -> tuple[Run, DataFrame]:
    """The record of a training, whose model lies in the folder; its state, which is needed no more, goes.

    Nothing is taken up of what another run left there, or a run that cannot be told.

    Raises:
        AvqError: this process has other code than the run was planned for.
    """
    from avq.training.checkpoint import load_model

    run = cast(Run, job.task)
    if code_now(run) != run.code:
        raise AvqError("the code has changed since this run was planned: give the command again.")
    if not store.describe(run):
        store.clear(run)
    history = _whole_history(run, folder)  # by the checksums of the task.json before
    (folder / RECORD).unlink(missing_ok=True)  # that of a failure, or a damaged one
    write_json(folder / TASK, run.describe())
    write_json(folder / "environment.json", describe_environment(job.device))
    write_progress(folder, "starting")
    if history is None:
        model, history = _trained(job, run, folder)
    else:
        model = load_model(folder / CHECKPOINT_FILE)
    picked = model.attention_computed(run.image_size, job.device)
    write_json(folder / "environment.json", describe_environment(job.device) | {"attention": picked})
    rows = _measurements(job, run, history, model)
    with suppress(OSError):
        (folder / STATE_FILE).unlink(missing_ok=True)
    return run, record_frame(of_run(run, machine_name(job.device)), rows)


def failed(job: Job, reason: str) -> tuple[Task, DataFrame]:
    """One row of status `failed`."""
    return job.task, record_frame(of_run(job.run, machine_name(job.device)), [("test", failed_cell("mae", reason))])


def _trained(job: Job, run: Run, folder: Path) -> tuple[Tokenizer, History]:
    """Train, and write at once what a later process needs so as not to train again."""
    import pandas as pd

    from avq.training.checkpoint import save_model
    from avq.training.config import TrainConfig
    from avq.training.diagnose import NonFiniteLoss
    from avq.training.fresh import fresh_model
    from avq.training.trainer import train

    forget_children(folder)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)  # beside the log of a later training it would count as its own
    dataset = images_of(run, job.data_root)
    config, state = TrainConfig(**run.train), folder / STATE_FILE
    if state.exists() and not is_whole(state):
        state.unlink()
    model = fresh_model(run.recipe, run.seed)
    try:
        with PointWriter(folder, model, dataset, config, job) as on_point:
            history = train(
                model, dataset, config, run.seed, folder=folder, device=job.device, on_progress=progress_writer(folder),
                on_point=on_point, variant=run.variant, stop_at=job.stop_at,
            )  # fmt: skip
    except NonFiniteLoss:  # resuming would only meet the same step again
        with suppress(OSError):
            state.unlink(missing_ok=True)
        raise
    write_atomic(folder / LOG, to_csv(pd.DataFrame(history.rows)))
    save_model(model, folder / CHECKPOINT_FILE)
    TRAINED.add(folder)
    return model, history


def _whole_history(run: Run, folder: Path) -> History | None:
    """The curve of a training whose log and checkpoint are whole; None where it must be trained.

    The log's last point is the last step's, so that its seconds are the training's. A baseline has no points: it is
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
    if not is_as_written(folder / LOG):
        return None
    return History(rows, rows[-1]["seconds"]) if is_whole(folder / CHECKPOINT_FILE) else None


def is_whole(path: Path) -> bool:
    """Whether a file of weights is there, is what its checksum says, and is what its run left."""
    from avq.training.checkpoint import read_tensors

    try:
        read_tensors(path)
    except UsageError:
        return False
    return is_as_written(path)


def _measurements(job: Job, run: Run, history: History, model: Tokenizer) -> list[tuple[str, Measurement]]:
    """What training measured; `training-time` carries the remarks on its curve."""
    from avq.metrics.measurement import measured, protocol_id
    from avq.training.remarks import remarks

    # A sweep's runs slow one another, so how many there were belongs to the conditions.
    conditions = {"device": job.device.partition(":")[0], "threads": 1, "workers": job.workers}
    time_protocol = protocol_id("training-time", **conditions)
    images = len(images_of(run, job.data_root).validation)
    sizes = model.latent_sizes(run.image_size) if model.codebook_sizes else []
    tokens = [images * height * width for height, width in sizes]
    remark = "; ".join(remarks(history.rows, model.codebook_sizes, tokens))
    rows = [("train", measured("training-time", history.seconds, protocol=time_protocol, reason=remark))]
    if history.rows:
        protocol = protocol_id("validation-mae", data=run.images, precision=run.train["precision"])
        rows.append(("validation", measured("validation-mae", history.rows[-1]["validation-mae"], protocol=protocol)))
    return rows


def progress_writer(folder: Path) -> Callable[[Progress], None]:
    """A callback for `train` that keeps the run's progress.json up to date."""

    def write(progress: Progress) -> None:
        write_progress(folder, "training", **asdict(progress))

    return write
