from __future__ import annotations

import made_records
import pandas as pd
import pytest


@pytest.fixture(autouse=True)
def _no_full_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels runs a full garbage collection in every correction, which takes longer than all else in a test."""
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture
def story() -> pd.DataFrame:
    """A small ablation of three seeds with everything in it."""
    return made_records.story()
