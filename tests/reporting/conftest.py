from __future__ import annotations

import made_records
import pandas as pd
import pytest


@pytest.fixture
def story() -> pd.DataFrame:
    """A small ablation of three seeds with everything in it."""
    return made_records.story()
