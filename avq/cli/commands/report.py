"""``avq-bench report``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from avq.cli import options


@click.command()
@click.argument("results", type=options.FILE_OR_FOLDER)
@options.written("Notebook to write.", "report.ipynb")
@click.option("--html", type=options.FILE, help="Also write one self-contained HTML page.")
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Store that holds the runs, for learning curves, pictures and versions.  [default: RESULTS, if it is a store]",
)
@options.cards
@options.data_root
@options.split
@click.option(
    "--all-pictures",
    is_flag=True,
    help="Also show images of datasets in your own folders; their terms may forbid passing them on.",
)
def command(
    results: Path,
    output: Path,
    html: Path | None,
    store: Path | None,
    data_root: Path | None,
    split: str,
    all_pictures: bool,
) -> None:
    """Write an executed notebook about RESULTS: a store, an experiment's folder in it, or a long-form CSV.

    Questions and answers come first, then tables, figures, pictures, and the commands that reproduce them. The
    notebook's cells call avq.reporting, so that it can be edited and run again. Needs the extra `report`.

    \b
    Examples:
      avq-bench report avq-runs -o report.ipynb --html report.html
      avq-bench report results/cpu/ablation_levels-small-cifar10.csv --store avq-runs
    """
    from avq import load_results
    from avq.files import write_atomic
    from avq.reporting import notebook
    from avq.reporting.report import Report
    from avq.store.declared import ablation_of

    notebook.need_packages()
    long, place = load_results(results), store or _store_of(results)
    chosen: dict[str, Any] = {"split": split, "store": place, "data_root": data_root, "all_pictures": all_pictures}
    names = map(str, long["experiment"].unique())
    reports = [Report(long, ablation_of(place or results, name), experiment=name, **chosen) for name in names]
    folder = output.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    made = notebook.build(results, reports, folder, _command())
    click.echo(f"executing {sum(cell.cell_type == 'code' for cell in made.cells)} cells ...", err=True)
    notebook.execute(made, folder)
    import nbformat  # of the extra

    write_atomic(output, nbformat.writes(made) + "\n")
    click.echo(f"wrote {output}")
    if html is not None:
        write_atomic(html, notebook.to_html(made))
        click.echo(f"wrote {html}")


def _store_of(results: Path) -> Path | None:
    """The store that RESULTS is, or is part of."""
    return next((path for path in (results, *results.absolute().parents[:3]) if (path / "runs").is_dir()), None)


def _command() -> str:
    """This command as it was given."""
    words, context = ["avq-bench", "report"], click.get_current_context()
    for param in context.command.params:
        value = context.params.get(param.name or "")
        if value is None or value is False or value == param.get_default(context):
            continue
        words += [param.opts[-1]] if isinstance(param, click.Option) else []
        words += [str(value)] if value is not True else []
    return shlex.join(words)
