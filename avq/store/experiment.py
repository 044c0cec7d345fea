"""An experiment's folder: plan.json, which holds the checksums of table.csv, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from avq.aliases import current_tree
from avq.data.hashing import sha256_of_file
from avq.errors import UsageError
from avq.files import read_json, sha256_of, write_atomic, write_json
from avq.store.record import read_records, to_csv, typed

if TYPE_CHECKING:
    from pandas import DataFrame

PLAN, TABLE = "plan.json", "table.csv"
_AGAIN = "give the experiment's command again; what is finished is not repeated"


class _Planned(BaseModel):
    row: str
    seed: int
    run: str


class _FirstRelease(BaseModel):
    """What a plan.json of the first release holds, which has no checksum."""

    ablation: dict[str, Any]
    rows: list[dict[str, Any]]
    runs: list[_Planned]


class _FirstScale(BaseModel):
    experiment: str
    points: list[dict[str, Any]]


def read_plan(folder: Path, experiment: str = "") -> dict[str, Any]:
    """The plan.json of an experiment of that name (any, by default), with today's names; empty where there is none.

    Raises:
        UsageError: it is damaged, or another experiment's.
    """
    path = folder / PLAN
    if not path.exists():
        return {}
    plan = read_json(path, checked=True)
    if not plan:
        try:
            plan = read_json(path)
            TypeAdapter(_FirstRelease | _FirstScale).validate_python(plan)
        except ValidationError:
            raise UsageError(f"{path} is damaged: {_AGAIN}.") from None
    if experiment and plan.get("experiment", experiment) != experiment:
        raise UsageError(f"{path} is of another experiment: {_AGAIN}.")
    return plan if "schema_version" in plan else dict(current_tree(plan))


def read_table(folder: Path) -> DataFrame:
    """An experiment's table; errors as `read_records`, and UsageError where it is not the one that was written."""
    path, plan = folder / TABLE, read_plan(folder)
    if not plan:
        raise UsageError(
            f"{path} has no {PLAN} beside it: give the experiment's command again, or the table's own path."
        )
    known = plan.get("tables", [])  # the first release's has none
    if known and sha256_of_file(path) not in known:
        raise UsageError(f"{path} is damaged: {_AGAIN}.")
    return read_records(path)


def write_experiment(folder: Path, plan: dict[str, Any], table: DataFrame) -> None:
    """Put an experiment's plan and its table in their places; a table without rows leaves the one that is there."""
    try:
        known = read_plan(folder, plan["experiment"]).get("tables", [])
    except UsageError:
        known = []
    text = to_csv(typed(table))
    # The one that is there too: it is until the new one is in its place.
    there = sha256_of_file(folder / TABLE) if (folder / TABLE).exists() else ""
    tables = [sha256_of(text), *({there} & {*known})] if len(table) else known
    write_json(folder / PLAN, plan | {"tables": tables})
    if len(table):
        write_atomic(folder / TABLE, text)
