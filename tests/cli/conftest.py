from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avq.cli.main import cli

Call = Callable[..., Result]


@pytest.fixture(scope="session")
def call() -> Call:
    """Call the command line in this process: ``call("list", "variants")``.

    The exit code must be `code`; a failure must be one line (below the usage, if click refuses) with `says` in it.
    """

    def run(*words: str, code: int = 0, says: str = "") -> Result:
        done = CliRunner().invoke(cli, list(words), prog_name="avq-bench", standalone_mode=True)
        assert done.exit_code == code, done.output
        if says:
            *before, last = done.stderr.splitlines()
            assert says in last
            assert not before or before[0].startswith("Usage:")
        return done

    return run


@pytest.fixture(scope="session")
def save_tiny() -> Callable[..., Path]:
    """Save a tiny untrained model: ``save_tiny(path, "aren-1")``."""

    def save(path: Path, variant: str = "aren-1", seed: int = 0, **settings: object) -> Path:
        import torch

        from avq.models import create_variant
        from avq.training.checkpoint import save_model

        torch.manual_seed(seed)
        tiny = {"codebook_size": 16} if variant == "patch-kmeans" else {"width": 8, "code_dim": 8, "codebook_size": 16}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(create_variant(variant, **tiny, **settings), path)
        return path

    return save
