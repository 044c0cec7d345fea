"""A report as an executed notebook, and as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avq.errors import AvqError, UsageError
from avq.reporting.report import Report
from avq.reporting.samples import first_runs
from avq.reporting.scaling import has_points

if TYPE_CHECKING:
    from nbformat import NotebookNode

_SECONDS = 900  # the longest that one cell may take
_TEMPLATES = Path(__file__).resolve().parent / "templates"


class _Section(NamedTuple):
    """A heading, how to read what follows, the calls that show it, and whether they have something to show."""

    title: str
    words: str
    calls: tuple[str, ...]
    wanted: Callable[[Report], bool] = lambda report: True


def _measured(*metrics: str) -> Callable[[Report], bool]:
    return lambda report: bool((report.long["metric"].isin(metrics) & report.long["value"].notna()).any())


def _trained(report: Report) -> bool:
    """Whether this is about trained models: what `avq-bench scale` measures is not."""
    return not has_points(report.long)


_SECTIONS = (
    _Section(
        "What was compared",
        "A *tokenizer* squeezes an image into a few codes and rebuilds it; each **row** below is one way to build it, "
        "trained from several random starts (**seeds**). **MAE** is the mean absolute error of the rebuilt pixels, "
        "0 is perfect. The **k-means baseline** (patch-kmeans) is plain clustering of image patches: a trained row "
        "that does not beat it has learned nothing worth a table.",
        ("setting()", "rows()"),
        _trained,
    ),
    _Section(
        "The declared comparisons",
        "One line a comparison: the difference a − b between two rows, dot and 95 % interval from the spread between "
        "seeds. Left of zero, a has the lower value. The shaded band is the margin that the ablation calls too "
        "small to matter. *Undecided* means that these seeds do not decide, not that there is no difference.",
        ("effects()", "verdict_table()"),
        lambda report: bool(report.judged),
    ),
    _Section(
        "Quality",
        "Means ± standard deviation over seeds. Tables sort by a click on a column's head. In the pictures: bars are "
        "95 % intervals of the mean; a triangle at the edge marks a row that is off the scale, with its value.",
        ("quality_table()", "values()", "values_by_axis()"),
        _trained,
    ),
    _Section(
        "Rate and distortion",
        "A better rebuilt image is no gain if it was paid for in bits. Lower left is better. Markers stand at the rate "
        "that the codes really carry (entropy), ticks at the nominal rate; in the shaded corner the k-means baseline "
        "does as well.",
        ("rate_distortion()",),
        _measured("bits-per-pixel-entropy"),
    ),
    _Section(
        "Quality and cost",
        "What the rows cost, from an isolated benchmark: one at a time, nothing beside it. The line is the *Pareto "
        "front*: rows that no other row beats in both (black edge). Hollow rows spend another number of bits and are "
        "on no front.",
        ("cost_table()", "pareto()"),
        _measured("params-trainable", "train-images-per-s", "peak-memory"),
    ),
    _Section(
        "Learning",
        "Error on validation images while training: thin lines are seeds, thick ones their means. Lines that still "
        "fall at the end say that longer training might change the picture. What leaves the top is off the scale.",
        ("learning_curves()",),
        lambda report: report.store is not None,
    ),
    _Section(
        "Codebooks",
        "Does a level use the codes that it has? Dots: share of codes used at least once on the split. Bars: "
        "perplexity as a share of the codebook, the number of codes in effective use. Level 1 is the finest.",
        ("codebooks()",),
        _measured("codebook-utilization"),
    ),
    _Section(
        "Attention and the size of the latent",
        "How memory and time grow with the side of the latent, on scales by powers. Lines join what was measured, each "
        "point in a process of its own; crosses are what was counted beforehand, also where a size did not fit. A "
        "matrix over all pairs of pixels grows with the fourth power of the side; what is linear in pixels, with the "
        "second.",
        ("attention_scaling()", "scaling_table()"),
        lambda report: not _trained(report),
    ),
    _Section(
        "Pictures",
        "The first images of the test set's fixed order (not chosen), each row's reconstruction by its first seed, and "
        "on the right where it errs.",
        ("pictures()",),
        lambda report: report.store is not None and bool(first_runs(report.long, report.store)),
    ),
    _Section("Made with", "", ("environment()",)),
)


def build(results: Path, reports: Sequence[Report], folder: Path, command: str) -> NotebookNode:
    """The notebook, not yet executed: questions and answers first, then each experiment's sections.

    Args:
        results: what its first cell loads.
        reports: one an experiment, in order, of one store and split; what has nothing to show gets no section.
        folder: where the notebook will lie; paths in its cells are relative to it.
        command: the command that makes this report.
    """
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    names = ["report"] if len(reports) == 1 else [re.sub(r"\W", "_", report.experiment) for report in reports]
    cells = [new_markdown_cell(_title(reports)), new_code_cell(_first_cell(results, reports, names, folder))]
    for name, report in zip(names, reports, strict=True):
        if len(reports) > 1:
            cells.append(new_markdown_cell(f"## {report.question}"))
        cells.append(new_code_cell(f"{name}.answers()"))
    for name, report in zip(names, reports, strict=True):
        if len(reports) > 1:
            cells.append(new_markdown_cell(f"# {report.experiment}\n\n{report.question}"))
        for section in _SECTIONS:
            if section.wanted(report):
                cells.append(new_markdown_cell(f"## {section.title}\n\n{section.words}".strip()))
                cells += [new_code_cell(f"{name}.{call}") for call in section.calls]
    commands = "\n".join([*(report.command() for report in reports), command])
    cells.append(new_markdown_cell(f"The same again, from training to this page:\n\n```bash\n{commands}\n```"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02}"  # the same input makes the same notebook
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"title": _plain_title(reports), "kernelspec": kernel})


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells with this Python, in `folder`.

    Raises:
        AvqError: a cell failed; its own error is named.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class ThisPython(AsyncKernelManager):  # type: ignore[misc, unused-ignore]
        """No kernel of a person's own collection: `python3` there may be another Python, without this package."""

        def _kernel_spec_manager_default(self) -> Any:
            return KernelSpecManager(kernel_dirs=[])

    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        startup_timeout=_SECONDS,
        timeout=_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise AvqError(f"a cell of the report failed: {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise AvqError(f"the report could not be executed: {str(error).splitlines()[0]}") from error


def to_html(notebook: NotebookNode) -> str:
    """An executed notebook as one HTML page: code folded away, tables that sort, nothing loaded from outside."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="page", extra_template_basedirs=[str(_TEMPLATES)], exclude_anchor_links=True, sanitize_html=False
    )
    page, _ = exporter.from_notebook_node(notebook)
    return str(page)


def need_packages() -> None:
    """Say in one line what to install where a report cannot be made.

    Raises:
        UsageError: a package of the extra `report` is missing.
    """
    needed = ("nbformat", "nbclient", "nbconvert", "ipykernel", "jinja2")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"a report needs {', '.join(missing)}: pip install 'avq-bench[report]'")


def _plain_title(reports: Sequence[Report]) -> str:
    return reports[0].question if len(reports) == 1 else f"{len(reports)} ablations of image tokenizers"


def _title(reports: Sequence[Report]) -> str:
    names = ", ".join(f"`{report.experiment}`" for report in reports)
    return f"# {_plain_title(reports)}\n\nA report by avq-bench on {names}."


def _first_cell(results: Path, reports: Sequence[Report], names: Sequence[str], folder: Path) -> str:
    def literal(path: Path) -> str:
        """A path as a cell states it: relative to the notebook, so that it holds on another machine too."""
        return repr(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())

    first = reports[0]
    lines = [
        "import avq",
        "from avq.store.declared import ablation_of",
        "from avq.reporting.report import Report",
        "",
        f"results = {literal(results)}",
    ]
    more, source = "", "results"
    if first.store is not None:
        lines.append(f"store = {literal(first.store)}")
        more, source = ", store=store", "store"
    lines.append("table = avq.load_results(results)")
    more += f", data_root={literal(first.data_root)}" if first.data_root is not None else ""
    more += f", split={first.split!r}" if first.split != "test" else ""
    more += ", all_pictures=True" if first.all_pictures else ""
    for name, report in zip(names, reports, strict=True):
        experiment = repr(report.experiment)
        lines.append(f"{name} = Report(table, ablation_of({source}, {experiment}), experiment={experiment}{more})")
    return "\n".join(lines)
