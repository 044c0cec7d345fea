"""Long-form rows of what was measured outside a store, and files that they are added to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avq.errors import UsageError
from avq.files import write_atomic
from avq.store.record import COLUMNS, read_records, record_frame, to_csv, typed

if TYPE_CHECKING:
    from pandas import DataFrame

    from avq.metrics.measurement import Measurement

EXPERIMENT = "measured"  # of rows that no ablation asked for


@dataclass(frozen=True)
class Label:
    """What the rows of one measured model are called.

    Attributes:
        row: its line in a table.
        variant: what the model is.
        dataset: the images.
        split: which of them; "test" where there are no others.
        seed: that of its training, for tables over several.
        machine: the hardware that measured.
        code: hash of the code that trained it; empty where that is not known.
    """

    row: str
    variant: str
    dataset: str
    split: str
    seed: int
    machine: str
    code: str = ""


def long_frame(measurements: Sequence[Measurement], label: Label) -> DataFrame:
    """The measurements in the long form (`record.COLUMNS` and `row`)."""
    about = asdict(label) | {"experiment": EXPERIMENT, "run": f"{label.row}-s{label.seed}", "preset": ""}
    return record_frame(about, [(label.split, one) for one in measurements], (*COLUMNS, "row"))


def check_target(path: Path, label: Label) -> DataFrame | None:
    """The results that rows of this label are to be added to; None where the file is yet to be made.

    Raises:
        UsageError: the file is something else, is in no folder, or has rows of this label already.
    """
    if path.suffix.lower() != ".csv":
        raise UsageError(f"--output {path}: long-form results are written as .csv")
    if not path.exists():
        return None
    there = read_records(path)
    for name, fallback in (("experiment", EXPERIMENT), ("preset", ""), ("row", there["variant"])):
        if name not in there:
            there[name] = fallback
    mine = {"experiment": _experiment(there), "row": label.row, "dataset": label.dataset, "split": label.split}
    same = there[(there[list(mine)] == list(mine.values())).all(axis=1) & (there["seed"] == label.seed)]
    if len(same):
        raise UsageError(
            f"{path} has rows of '{label.row}' on {label.dataset} ({label.split}), seed {label.seed}, already: "
            "choose another --name or --seed"
        )
    return there


def add_rows(path: Path, frame: DataFrame, there: DataFrame | None) -> None:
    """Write the file anew with these rows after those that were there (`check_target`), whole or not at all.

    Where the file has one experiment, the rows join it, and so stand in its table.

    Raises:
        AvqError: the disk takes nothing more; the file is as it was.
    """
    import pandas as pd

    if there is not None:
        presets = set(there["preset"])
        frame = frame.assign(experiment=_experiment(there), preset=presets.pop() if len(presets) == 1 else "")
        frame = pd.concat([there, frame], ignore_index=True)
    write_atomic(path, to_csv(typed(frame)))


def _experiment(there: DataFrame) -> str:
    names = set(there["experiment"])
    return str(names.pop()) if len(names) == 1 else EXPERIMENT
