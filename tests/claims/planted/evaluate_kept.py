"""Measure kept checkpoints with the code that is loaded: what an edit of a layer does to models trained before it.

    python evaluate_kept.py STORE DATA_ROOT OUT.csv VARIANT... [--plugin double_attention]

Without weights of networks, so that the numbers are the same on every machine. What training recorded of a run stays,
as where a store's runs are measured again.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pandas as pd

from avq.data.config import DataConfig
from avq.data.sources import load_dataset
from avq.evaluation.evaluate import evaluate
from avq.store.layout import Store
from avq.store.merge import finished_run
from avq.store.record import COLUMNS, record_frame, to_csv
from avq.tasks.job import CHECKPOINT
from avq.training.checkpoint import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("data_root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--plugin")
    parser.add_argument("--images", type=int, default=500, help="test images")
    chosen = parser.parse_args()
    if chosen.plugin:
        importlib.import_module(chosen.plugin)
    store = Store(chosen.store)
    frames, datasets = [], {}
    for folder in sorted(store.runs.iterdir()):
        run = finished_run(store, folder.name)
        if run is None or run.variant not in chosen.variants:
            continue
        data = DataConfig(**{**run.data, "test_images": chosen.images})
        if data not in datasets:
            datasets[data] = load_dataset(data, chosen.data_root)
        rows, _ = evaluate(load_model(folder / CHECKPOINT), datasets[data])
        trained = store.record(run)
        frames.append(trained[trained["split"] != "test"])
        frames.append(record_frame(run, [("test", row) for row in rows], "kept checkpoint"))
    long = pd.concat(frames, ignore_index=True)
    long = long.assign(experiment="kept", preset="small", row=long["variant"])
    chosen.out.write_text(to_csv(long[[*COLUMNS, "row"]]))


if __name__ == "__main__":
    main()
