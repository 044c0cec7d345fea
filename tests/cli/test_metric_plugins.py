"""A metric of one file, with a network of its own: listed, measured, shown and judged; nothing else is touched.

The file is the one that docs/extending.md shows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_tasks import write_run

from avq.metrics.registry import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
PLUGIN = ("--plugin", "feature_distance.py")


@pytest.fixture
def store(in_empty_folder, monkeypatch, save_tiny):
    """The plug-in's file, and checkpoints of two seeds with the data that they were trained on."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS))  # so that other tests do not meet it
    (source,) = re.findall(r"<!-- run: file feature_distance.py -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(source.splitlines()) <= 60
    Path("feature_distance.py").write_text(source)
    counts = {"train_images": 8, "validation_images": 8, "test_images": 12}
    for seed in (0, 1):
        checkpoint = save_tiny(in_empty_folder / f"run{seed}" / "checkpoint.safetensors", seed=seed)
        write_run(checkpoint.parent, {"dataset": "synthetic-faces", "image_size": 32, **counts}, seed)


def test_one_file_adds_a_metric(call, store, monkeypatch):
    import pandas as pd

    assert "distance of random features" in call("list", "metrics", *PLUGIN).stdout
    for seed in (0, 1):
        done = call("evaluate", f"run{seed}/checkpoint.safetensors", "--output", "good.csv", "--name", "mine", *PLUGIN)
        assert "feature-distance" in done.stdout, done.stderr
    table = call("table", "good.csv", "--format", "markdown", *PLUGIN)
    assert "feature distance ↓" in table.stdout
    frame = pd.read_csv("good.csv", dtype=str, keep_default_na=False)
    ours = frame["metric"] == "feature-distance"
    assert set(frame.loc[ours, "protocol"].str.split(";ref").str[0]) == {
        "feature-distance.1:net=conv3x3-8-8;weights=seed0"
    }
    frame.assign(value=frame["value"].mask(ours, "0.5")).to_csv("bad.csv", index=False)
    done = call("check", "bad.csv", "--baseline", "good.csv", "--format", "json", *PLUGIN, code=1)
    regressed = [cell["metric"] for cell in json.loads(done.stdout)["cells"] if cell["verdict"] == "regressed"]
    assert regressed == ["feature-distance"]

    monkeypatch.setattr(METRICS, "_entries", {name: METRICS[name] for name in METRICS if name != "feature-distance"})
    done = call("check", "bad.csv", "--baseline", "good.csv")  # the plug-in is not loaded
    assert "load a plug-in with --plugin): feature-distance" in done.stderr
    assert "--plugin): feature-distance" in call("table", "good.csv").stdout
