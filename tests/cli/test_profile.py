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


@pytest.mark.parametrize(("variant", "said"), [("patch-kmeans", "is fitted, not trained"), ("arne-1", "aren-1")])
def test_baselines_and_unknown_variants_are_wrong_use(
    call: Any, in_empty_folder: Path, variant: str, said: str
) -> None:
    call("profile", variant, code=2, says=said)
