"""Every number in README and docs that comes from a table is what the table, or the simulation, says."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import load_script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def figures():
    return load_script("figures")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.stem
)
def test_a_page_is_as_the_program_writes_it(figures, page: Path) -> None:
    """Else run scripts/figures.py."""
    text = page.read_text("utf-8")
    assert text == figures.written(text)
    assert text.count("<!-- = ") == len(figures.NUMBER.findall(text))
    assert text.count("<!-- rows: ") == len(figures.ROWS.findall(text))


def test_a_number_that_is_wrong_is_written_anew(figures) -> None:
    right = '0.138<!-- = mean("lpips-squeeze", "vqvae") ~ .3f -->'
    assert figures.written(right.replace("0.138", "0.139")) == right
    with pytest.raises(ValueError, match="has no mae of nowhere"):
        figures.written('1<!-- = mean("mae", "nowhere") ~ .3f -->')
