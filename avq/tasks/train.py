"""Training a run, or taking what a training left whole, and evaluating it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from avq.errors import UsageError
from avq.files import write_atomic, write_json
from avq.machine import describe_environment, machine_name
from avq.store.layout import Store, write_progress
from avq.store.record import record_frame, to_csv
from avq.tasks.evaluate import finish, on_test
from avq.tasks.job import CHECKPOINT, LOG, RECORD, Job, build_model
from avq.tasks.watch import PointWriter
from avq.training.config import STATE_FILE

if TYPE_CHECKING:
    from avq.data.sources import Dataset
    from avq.design.plan import Run
    from avq.metrics.measurement import Measurement
    from avq.models.tokenizer import Tokenizer
    from avq.training.trainer import History, Progress


def train_and_evaluate(job: Job, store: Store, folder: Path) -> None:
    """Train, or take what a training left whole, and evaluate."""
    from avq.data.config import DataConfig
    from avq.data.sources import load_dataset
    from avq.evaluation.evaluate import evaluate
    from avq.training.allocator import give_freed_memory_back
    from avq.training.checkpoint import load_model

    run = job.run
    (folder / RECORD).unlink(missing_ok=True)  # that of a failure, or a damaged one
    write_json(folder / "config.json", run.describe())
    write_json(folder / "environment.json", describe_environment(job.device))
    write_progress(folder, "starting")
    dataset = load_dataset(DataConfig(**run.data), job.data_root)
    history = _kept_history(run, folder)
    trained_here = history is None
    if history is None:
        model, history = _trained(job, folder, dataset)
    else:
        model = load_model(folder / CHECKPOINT)
    picked = model.attention_computed(run.image_size, job.device)
    write_json(folder / "environment.json", describe_environment(job.device) | {"attention": picked})
    write_progress(folder, "evaluating")
    give_freed_memory_back()
    measured, images = evaluate(model, dataset, "test", device=job.device, allow_small=job.measures.allow_small)
    rows = [*_of_training(job, history, model), *on_test(measured)]
    if trained_here:
        rows.append(_memory(job))
    finish(job, store, folder, record_frame(run, rows, machine_name(job.device)), images)


def _trained(job: Job, folder: Path, dataset: Dataset) -> tuple[Tokenizer, History]:
    """Train, and keep at once what a later process needs to evaluate without training."""
    import pandas as pd

    from avq.training.checkpoint import save_model
    from avq.training.config import TrainConfig
    from avq.training.trainer import train

    run, state = job.run, folder / STATE_FILE
    if state.exists() and not is_whole(state):
        state.unlink()
    model = build_model(run)
    with PointWriter(folder, model, dataset, TrainConfig(**run.train), job) as on_point:
        history = train(
            model, dataset, TrainConfig(**run.train), run.seed, folder=folder, device=job.device,
            on_progress=progress_writer(folder), on_point=on_point, variant=run.variant, stop_at=job.stop_at,
        )  # fmt: skip
    write_atomic(folder / LOG, to_csv(pd.DataFrame(history.rows)))
    save_model(model, folder / CHECKPOINT)
    return model, history


def _kept_history(run: Run, folder: Path) -> History | None:
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
    return History(rows, rows[-1]["seconds"]) if is_whole(folder / CHECKPOINT) else None


def is_whole(path: Path) -> bool:
    """Whether a file of weights is there and is what its checksum says."""
    from avq.training.checkpoint import read_tensors

    try:
        read_tensors(path)
    except UsageError:
        return False
    return True


def _memory(job: Job) -> tuple[str, Measurement]:
    """Peak of this process, which trained and evaluated: what a plan predicts. Main memory, whatever the device."""
    from avq.metrics.measurement import measured, protocol_id
    from avq.profiling.memory import peak_memory

    train, device = job.run.train, job.device.partition(":")[0]
    conditions = {"batch": train["batch_size"], "size": job.run.image_size, "precision": train["precision"]}
    protocol = protocol_id("process-memory", **conditions, device=device)
    return "train", measured("process-memory", peak_memory("cpu"), protocol=protocol)


def _of_training(job: Job, history: History, model: Tokenizer) -> list[tuple[str, Measurement]]:
    """What training measured; `training-time` bears the remarks on its curve."""
    from avq.metrics.measurement import measured, protocol_id
    from avq.training.diagnose import remarks

    # A sweep's runs slow one another, so how many there were belongs to the conditions.
    conditions = {"device": job.device.partition(":")[0], "threads": 1, "workers": job.workers}
    time_protocol = protocol_id("training-time", **conditions)
    remark = "; ".join(remarks(history.rows, model.num_codes))
    rows = [("train", measured("training-time", history.seconds, protocol=time_protocol, reason=remark))]
    if history.rows:
        protocol = protocol_id("validation-mae", data=job.run.fingerprint, precision=job.run.train["precision"])
        rows.append(("validation", measured("validation-mae", history.rows[-1]["validation-mae"], protocol=protocol)))
    return rows


def progress_writer(folder: Path) -> Callable[[Progress], None]:
    """A callback for `train` that keeps the run's progress.json up to date."""

    def write(progress: Progress) -> None:
        write_progress(folder, "training", **asdict(progress))

    return write
