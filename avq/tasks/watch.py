"""What a training shows of itself at every validation point: `log.csv` and, where asked, TensorBoard's files."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from avq.errors import UsageError
from avq.files import write_atomic
from avq.store.layout import LOG, is_as_written
from avq.tasks.job import Job

if TYPE_CHECKING:
    from torch import Tensor

    from avq.data.sources import Dataset
    from avq.models.tokenizer import Tokenizer
    from avq.training.config import TrainConfig

TENSORBOARD = "tensorboard"
_PICTURED = 8
_PICTURES = 20  # at most, in a training: a grid at 256x256 is about a megabyte


def check_tensorboard() -> None:
    """UsageError where TensorBoard is not installed, before anything is trained."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs TensorBoard: pip install 'avq-bench[tensorboard]'")


def read_log(folder: Path) -> list[dict[str, float]]:
    """The validation points of a run so far, oldest first; none where there is no log or a damaged one."""
    try:
        if not is_as_written(folder / LOG):
            return []
        rows = list(csv.DictReader(io.StringIO((folder / LOG).read_text(encoding="utf-8"))))
        return [{name: float(value) for name, value in row.items()} for row in rows]
    except (OSError, ValueError, TypeError):  # TypeError: a line with fewer cells than the first
        return []


def add_to_log(folder: Path, row: dict[str, float]) -> None:
    """Put a point at the end of the log, in place of those that a killed training wrote from its step on."""
    rows = [old for old in read_log(folder) if old.keys() == row.keys() and old["step"] < row["step"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, row])
    write_atomic(folder / LOG, text.getvalue(), durable=False)


class PointWriter:
    """The `on_point` of a training; use it as a context, so that all of it is on the disk at the end."""

    def __init__(self, folder: Path, model: Tokenizer, dataset: Dataset, config: TrainConfig, job: Job) -> None:
        self._folder, self._model, self._device = folder, model, job.device
        self._images: Tensor = dataset.validation.images[:_PICTURED]
        points = -(-config.steps // config.validate_every)
        self._last, self._every, self._points = config.steps, -(-points // _PICTURES), 0
        self._asked = job.tensorboard
        self._writer: Any = None

    def __enter__(self) -> PointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def __call__(self, row: dict[str, float]) -> None:
        add_to_log(self._folder, row)
        if self._asked:
            self._to_tensorboard(row)

    def _to_tensorboard(self, row: dict[str, float]) -> None:
        step = int(row["step"])
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # What a killed training wrote from this step on is void.
            self._writer = SummaryWriter(str(self._folder / TENSORBOARD), purge_step=step)
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)
        if self._points % self._every == 0 or step == self._last:
            self._writer.add_images("validation images above their reconstructions", self._grid(), step)
        self._points += 1
        self._writer.flush()

    def _grid(self) -> Tensor:
        """The first validation images, each above what the model makes of it; uint8 `[N, 3, 2 H, W]`."""
        import torch

        from avq.data.loader import to_model, to_uint8

        training = self._model.training
        self._model.eval()
        with torch.no_grad():
            made = to_uint8(self._model(to_model(self._images, self._device)).images.float()).cpu()
        self._model.train(training)
        return torch.cat([self._images, made], dim=1).permute(0, 3, 1, 2)
