"""`report` from end to end: trained runs, the executed notebook, and the page as a browser shows it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

for needed in ("nbformat", "nbclient", "nbconvert", "ipykernel", "jinja2"):
    pytest.importorskip(needed)

HELPER = Path(__file__).parents[1] / "reporting" / "browser.py"
TINY = ("--set", "steps=12", "--set", "test_images=24", "--set", "validation_images=8", "--set", "train_images=64")
MOST_BYTES = 3_000_000


def browser() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_browser", HELPER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(call: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two seeds, and its report as notebook and page."""
    folder = tmp_path_factory.mktemp("report")
    store = str(folder / "store")
    words = [
        ["run", "ablation_levels", "--seeds", "2", "--output", store, "--workers", "1", *TINY],
        ["report", store, "-o", str(folder / "out" / "report.ipynb"), "--html", str(folder / "out" / "report.html")],
    ]
    for line in words:
        call(*line)
    return folder / "out"


@pytest.mark.slow
def test_the_notebook_is_executed_without_errors_and_calls_reporting(made: Path) -> None:
    import nbformat

    notebook = nbformat.read(made / "report.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    assert all(len(cell.source.splitlines()) <= 12 for cell in code)
    assert len(code) <= 20
    shown = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 6
    assert all(output.metadata["image/png"]["alt"] for output in shown)
    assert (made / "report.ipynb").stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_the_notebook_runs_again_by_hand_from_its_folder(made: Path, tmp_path: Path) -> None:
    import nbformat

    from avq.reporting.notebook import execute

    again = nbformat.read(made / "report.ipynb", as_version=4)
    first = [cell.get("outputs") for cell in again.cells]
    execute(again, made)
    assert [cell.get("outputs") for cell in again.cells] == first


@pytest.mark.slow
def test_the_page_is_one_file_that_names_nothing_to_load(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page)
    assert not re.search(r"@import|url\(", page)
    assert (made / "report.html").stat().st_size < MOST_BYTES
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 6
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no Chromium")
def test_the_page_in_a_browser(made: Path, tmp_path: Path) -> None:
    with browser().Browser(tmp_path / "profile") as page:
        for width in (390, 1200):
            page.open(made / "report.html", width, 844)
            problems = ("Network.loadingFailed", "Log.entryAdded", "Runtime.exceptionThrown")
            assert [event for event in page.events if event["method"] in problems] == []
            asked = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
            assert [url for url in asked if not url.startswith("data:")] == [(made / "report.html").as_uri()]
            assert page.value("document.documentElement.scrollWidth") == width
            assert page.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            assert page.screenshot(made / f"page-{width}.png").stat().st_size > 10_000
        assert page.value("getComputedStyle(document.querySelector('.scroll')).overflowX") == "auto"
        column = "[...document.querySelectorAll('table[aria-label=quality] tbody td:nth-child(5)')]"
        values = f"{column}.map(cell => parseFloat(cell.textContent))"
        head = "document.querySelectorAll('table[aria-label=quality] thead th')[4]"
        assert page.value(f"{head}.textContent.trim()").startswith("MAE")
        page.value(f"{head}.click()")
        rising = page.value(values)
        assert rising == sorted(rising)
        page.value(f"{head}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter'}}))")
        assert page.value(values) == rising[::-1]
        assert page.value(f"{head}.getAttribute('aria-sort')") == "descending"


def test_wrong_use_is_one_line(call: Any, in_empty_folder: Path) -> None:
    call("report", "nowhere.csv", code=2, says="Error: no results at nowhere.csv.")


def test_a_missing_package_is_named_with_its_fix(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "nbclient" else object())
    call("report", "nowhere.csv", code=2, says="Error: a report needs nbclient: pip install 'avq-bench[report]'")


def test_a_cell_that_fails_is_one_line(tmp_path: Path) -> None:
    from nbformat.v4 import new_code_cell, new_notebook

    from avq.errors import AvqError
    from avq.reporting.notebook import execute

    with pytest.raises(AvqError, match="a cell of the report failed: ZeroDivisionError: division by zero"):
        execute(new_notebook(cells=[new_code_cell("1 / 0")]), tmp_path)
