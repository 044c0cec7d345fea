"""One experiment as a person reads it: what a report notebook's cells call, one method a cell."""

from __future__ import annotations

import html
import json
import platform
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

import avq
from avq.design.ablation import list_ablations
from avq.design.presets import get_preset, list_presets
from avq.design.rows import labels
from avq.errors import AvqError, UsageError
from avq.files import read_json
from avq.reporting import figures, scaling, styled
from avq.reporting.answers import answers, best_rows, summary
from avq.reporting.samples import mean_errors, samples
from avq.reporting.statistics import Judgement, judged
from avq.reporting.styled import Table
from avq.reporting.tables import judged_table
from avq.store.experiment import read_plan
from avq.store.layout import is_as_written

if TYPE_CHECKING:
    from avq.design.ablation import Ablation

_IMAGES = 5  # test images in a grid: with their errors beside them, as many as a phone shows
_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "seaborn", "matplotlib")


class Page(NamedTuple):
    """A piece of HTML, and the same in plain words."""

    markup: str
    text: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.text


class Several(tuple[Any, ...]):
    """Things shown one after the other."""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for one in self:
            display(one)


class Report:
    """Tables, figures and words about one experiment.

    Args:
        results: long-form results (`avq.load_results`), of one experiment or of several.
        ablation: what declared the contrasts; None (an unknown file) judges nothing.
        experiment: which one, where `results` hold several.
        split: whose measures.
        store: the store that holds the runs, for learning curves, pictures and versions; None leaves these out.
        data_root: as for `avq.run`; for pictures.
        all_pictures: show images of datasets in a person's folders too, whose terms may forbid it.

    Raises:
        UsageError: an unknown experiment, or several and no name.
    """

    def __init__(
        self,
        results: pd.DataFrame,
        ablation: Ablation | None = None,
        *,
        experiment: str = "",
        split: str = "test",
        store: str | Path | None = None,
        data_root: str | Path | None = None,
        all_pictures: bool = False,
    ) -> None:
        names = list(dict.fromkeys(results["experiment"]))
        if experiment not in names and (experiment or len(names) != 1):
            raise UsageError(f"give one of these experiments: {', '.join(names)}")
        self.experiment = experiment or str(names[0])
        self.long = results[results["experiment"] == self.experiment]
        self.ablation, self.split = ablation, split
        self.store = Path(store) if store is not None and Path(store).is_dir() else None
        self.data_root = Path(data_root) if data_root is not None else None
        self.all_pictures = all_pictures
        self.alpha = ablation.statistics.alpha if ablation is not None else 0.05

    @cached_property
    def judged(self) -> list[Judgement]:
        """The declared contrasts whose two rows are in the table, judged."""
        return judged(self.long, self.ablation, self.split)

    @property
    def question(self) -> str:
        """The ablation's question; for an unknown ablation the experiment's name."""
        return self.ablation.question if self.ablation is not None else self.experiment

    def answers(self) -> Page:
        """The answer to the question: what the declared comparisons found, each with how sure it is."""
        found, lead = answers(self.judged), [summary(self.judged), *best_rows(self.long, split=self.split)]
        items = "".join(
            f'<li class="{one.verdict.split()[0]}"><strong>{html.escape(one.name)}: '
            f'<span class="verdict">{one.sign} {html.escape(one.verdict)}</span></strong><br>'
            f"{html.escape(one.sentence)}</li>"
            for one in found
        )
        markup = "".join(f"<p>{html.escape(line)}</p>" for line in lead)
        markup += f'<ul class="answers">{items}</ul>' if items else ""
        text = [*lead, *(f"{one.sign} {one.name}: {one.verdict}. {one.sentence}" for one in found)]
        return Page(f'<div class="answer"><h3>What was found</h3>{markup}</div>', "\n".join(text))

    def setting(self) -> Table:
        """What was trained on what, and how it was judged, in a few lines."""
        first = self.long.iloc[0]
        judged = self.long[(self.long["metric"] == "mae") & (self.long["split"] == self.split)]
        counts = " or ".join(f"{n:,}" for n in sorted(judged["n"].dropna().unique()))
        facts = {
            "ablation": self.ablation.name if self.ablation is not None else "unknown",
            "preset (budget)": first["preset"],
            "dataset": ", ".join(dict.fromkeys(self.long["dataset"])),
            "judged on": f"{counts} {self.split} images".strip(),
            "rows": str(self.long["row"].nunique()),
            "seeds": ", ".join(map(str, self._seeds)),
        }
        return styled.listing(pd.DataFrame({"what": list(facts), "value": [str(v) for v in facts.values()]}), "setting")

    def rows(self) -> Table:
        """What each row is, with the remarks of its runs (a published variant narrowed, a stale run)."""
        from avq.models.zoo import VARIANTS

        lines = self.long.drop_duplicates("row")[["row", "variant"]]
        known = [VARIANTS[name].summary if name in VARIANTS else "a plug-in's variant" for name in lines["variant"]]
        sound = self.long[(self.long["status"] == "ok") & (self.long["reason"] != "")]
        remarks = sound.groupby("row")["reason"].agg(
            lambda reasons: "; ".join(dict.fromkeys("; ".join(reasons).split("; ")))
        )
        table = pd.DataFrame({"row": lines["row"].to_list(), "what it is": known})
        if len(remarks):
            table["in these runs"] = [remarks.get(row, "") for row in table["row"]]
        return styled.listing(table, "rows")

    def quality_table(self) -> Table:
        """Quality and codebooks, one line a row."""
        return styled.quality_table(self.long, self.split, self.alpha)

    def cost_table(self) -> Table | None:
        """Parameters, time and memory, one line a row."""
        return styled.cost_table(self.long, self.split)

    def verdict_table(self) -> Table | None:
        """Every declared comparison with its numbers."""
        return styled.verdict_table(judged_table(self.judged))

    def effects(self) -> figures.Picture | None:
        """The declared comparisons, drawn."""
        return figures.contrast_intervals(self.judged)

    def values(self, metric: str = "mae") -> Several:
        """Every row's value, seed by seed, a picture a dataset."""
        return self._each(lambda part: figures.values_by_row(part, metric, self.split))

    def values_by_axis(self, metric: str = "mae") -> Several:
        """Means over the ablation's axes, a picture a dataset."""
        return self._each(lambda part: figures.values_by_axis(part, metric, self.split))

    def rate_distortion(self, metric: str = "mae") -> Several:
        """Distortion against bits per pixel, a picture a dataset."""
        return self._each(lambda part: figures.rate_distortion(part, metric, self.split))

    def pareto(self, metric: str = "mae") -> Several:
        """Quality against parameters, time and memory, a picture a dataset."""
        return self._each(lambda part: figures.pareto(part, metric, self.split))

    def codebooks(self) -> Several:
        """What became of the codebooks, a picture a dataset."""
        return self._each(lambda part: figures.codebook_usage(part, self.split))

    def attention_scaling(self) -> figures.Picture | None:
        """How memory and time grow with the latent, where `avq-bench scale` measured it."""
        return figures.attention_scaling(self.long)

    def scaling_table(self) -> Table | None:
        """The same in numbers, with how the implementations compare."""
        if not scaling.has_points(self.long):
            return None
        return styled.listing(scaling.shown_points(self.long), "scaling", scaling.notes(self.long))

    def learning_curves(self) -> Several:
        """Validation error while training, a picture a dataset; without the store, a line says so."""
        logs = self._logs()
        if logs.empty:
            return _missing("learning curves", "the store with the logs of these runs was not found")
        return self._each(lambda part: figures.validation_curves(logs[logs["run"].isin(part["run"])], part))

    def pictures(self) -> Several:
        """The first test images, what every row makes of them, and the errors.

        Where the store, an image or a checkpoint cannot be read, a line says so.
        """
        if self.store is None:
            return _missing("pictures", "the store with the checkpoints was not found")
        notes = mean_errors(self.long, self.split)
        try:
            sets = list(samples(self.long, self.store, self.data_root, _IMAGES, self._may_be_shown))
        except AvqError as error:
            return _missing("pictures", str(error))
        if not sets:
            return _missing("pictures", "images of these datasets are shown on request only (all_pictures)")
        return Several(figures.error_grid(one.original, one.rows, notes) for one in sets)

    def environment(self) -> Table:
        """On what the runs were trained (from their store) and on what this report was made."""
        trained = self._trained_on()
        packages = {name: _version(name) for name in _PACKAGES}
        made = {"avq-bench": avq.__version__, "python": platform.python_version()} | packages
        known = {name: trained.get(name, "") for name in dict.fromkeys([*trained, *made])}
        lines = [{"what": name, "runs": known[name], "this report": made.get(name, "")} for name in known]
        return styled.listing(pd.DataFrame(lines), "environment")

    def command(self) -> str:
        """What trains these runs again (from its store, where nothing changed): a line for each choice of seeds."""
        store, name = self.store, self.experiment
        plan = read_plan(store / "experiments" / name, name) if store is not None else {}
        if "command" in plan:  # no ablation's
            return str(plan["command"])
        if self.ablation is None:
            return f"# {self.experiment}: the ablation is unknown"
        preset, shipped = str(self.long["preset"].iloc[0]), self.ablation.name in list_ablations()
        words = ["avq-bench", "run", self.ablation.name if shipped else f"{self.ablation.name}.toml"]
        words += ["--preset", preset] if preset else []
        settings = [line["settings"] for line in plan.get("rows", [])]
        given = {name: one["value"] for line in settings for name, one in line.items() if one["origin"] == "--set"}
        chosen = {line["dataset"]["value"] for line in settings if line["dataset"]["origin"] == "--dataset"}
        for dataset in chosen if plan else set(self.long["dataset"]) if self.long["dataset"].nunique() == 1 else ():
            words += ["--dataset", str(dataset)]
        for name, value in given.items():
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        for name, path in (("--output", self.store), ("--data-root", self.data_root)):
            words += [name, str(path)] if path is not None else []
        return "\n".join(shlex.join([*words, *_which(rows, seeds, self._rows)]) for seeds, rows in self._by_seeds())

    @property
    def _rows(self) -> list[str]:
        """The rows that a command chooses by itself."""
        assert self.ablation is not None
        preset, rows = str(self.long["preset"].iloc[0]), labels(self.ablation)
        smoke = preset in list_presets() and get_preset(preset).smoke_rows
        return (self.ablation.smoke or rows[:3]) if smoke else rows

    def _by_seeds(self) -> list[tuple[tuple[int, ...], list[str]]]:
        """Which rows were trained under which seeds."""
        found: dict[tuple[int, ...], list[str]] = {}
        for row, part in self.long.dropna(subset=["seed"]).groupby("row", sort=False):
            found.setdefault(tuple(sorted({int(seed) for seed in part["seed"]})), []).append(str(row))
        return list(found.items())

    @property
    def _seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.long["seed"].dropna().unique())

    def _each(self, draw: Callable[[pd.DataFrame], figures.Picture | None]) -> Several:
        """A picture a dataset, without datasets that have nothing to show."""
        parts = [part for _, part in self.long.groupby("dataset", sort=False)]
        return Several(picture for part in parts if (picture := draw(part)) is not None)

    def _folder(self, run: object) -> Path:
        assert self.store is not None
        return self.store / "runs" / str(run)

    def _logs(self) -> pd.DataFrame:
        """The training logs at hand: `run, row, seed` and the columns of `log.csv`."""
        found = []
        runs = self.long.loc[self.long["seed"].notna(), ["run", "row", "seed"]].drop_duplicates()
        for line in runs.to_dict("records") if self.store is not None else []:
            path = self._folder(line["run"]) / "log.csv"
            # What is fitted, not trained, has an empty one.
            if path.is_file() and is_as_written(path) and path.read_text(encoding="utf-8").strip():
                found.append(pd.read_csv(path).assign(**line))
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    def _trained_on(self) -> dict[str, str]:
        about: dict[str, list[str]] = {}
        for run in self.long["run"].unique() if self.store is not None else []:
            for name, value in read_json(self._folder(run) / "environment.json").items():
                for key, one in (value if isinstance(value, dict) else {name: value}).items():
                    if one is not None:
                        about.setdefault(key, []).append(str(one))
        about.setdefault("machine", list(self.long["machine"]))
        about["code"] = list(self.long["code"])
        return {name: " and ".join(filter(None, dict.fromkeys(values))) for name, values in about.items()}

    def _may_be_shown(self, dataset: str) -> bool:
        from avq.data.cards import get_card

        try:
            return self.all_pictures or get_card(dataset).kind != "folder"
        except AvqError:
            return self.all_pictures


def _which(rows: Sequence[str], seeds: Sequence[int], default: Sequence[str]) -> list[str]:
    """The options that choose these rows and seeds."""
    counted = list(seeds) == list(range(len(seeds)))
    text = str(len(seeds)) if counted else ",".join(map(str, seeds)) + "," * (len(seeds) == 1)
    return [*(["--only", ",".join(rows)] if set(rows) != set(default) else []), "--seeds", text]


def _missing(what: str, why: str) -> Several:
    line = f"No {what}: {why}."
    return Several([Page(f"<p>{html.escape(line)}</p>", line)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
