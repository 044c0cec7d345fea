from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from avq.cli.main import cli

Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    """Call the command line in this process: ``call("list", "variants")``."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, list(words), prog_name="avq-bench", standalone_mode=True)

    return run
