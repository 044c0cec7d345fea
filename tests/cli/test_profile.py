"""``avq-bench profile``."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from avq.profiling import profile
from avq.profiling.profile_meter import Peaks

SMALL = ("--steps", "2", "--set", "width=8", "--set", "batch_size=4", "--set", "codebook_size=16")


def test_a_line_a_part_and_the_trace(call: Any, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "measure_peaks", lambda _device: Peaks(1e12, 2e12, 1e11))
    result = call("profile", "aren-1-rpa-mean", *SMALL, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {"decoder", "encoder level 1", "attention level 1", "quantizer level 1"} <= {row["part"] for row in rows}
    assert sum(float(row["time %"]) for row in rows) == pytest.approx(100, abs=1)
    assert "% lies outside convolutions" in result.stderr
    assert (in_empty_folder / "avq-profile.json").exists()


def test_a_baseline_has_no_training_step(call: Any, in_empty_folder: Path) -> None:
    call("profile", "patch-kmeans", code=2, says="is fitted, not trained")


def test_an_unknown_variant_is_wrong_use(call: Any, in_empty_folder: Path) -> None:
    call("profile", "arne-1", code=2, says="aren-1")
