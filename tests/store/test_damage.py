"""A damaged store: what is read of it is equal, or has to be made again, or is refused in one line; never different."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avq.design.ablation import Ablation
from avq.design.evaluations import evaluation_of
from avq.design.plan import Choices, Plan, make_plan
from avq.design.presets import get_preset
from avq.design.run import Evaluation, Run
from avq.design.task import Task
from avq.errors import AvqError
from avq.files import write_json
from avq.metrics.measurement import measured
from avq.results import load_results
from avq.run_status import status
from avq.store.assembly import assemble, costs_of
from avq.store.declared import ablation_of
from avq.store.layout import LOG, PER_IMAGE, Store, is_as_written, write_progress
from avq.store.merge import merge, with_earlier
from avq.store.record import of_run, record_frame, to_csv
from avq.tasks.forecast import Known
from avq.tasks.watch import read_log
from avq.training.config import CHECKPOINT_FILE

MACHINE, ONE = "a machine", ["aren-1[learning_rate=0.001]"]
BASE = {"width": 4, "code_dim": 8, "codebook_size": 8, "train_images": 16, "validation_images": 8, "test_images": 8}


def planned(steps: int, only: list[str] | None = None) -> Plan:
    ablation = Ablation(
        name="mine", question="q", expected="e", base={**BASE, "variant": "aren-1"},
        axes={"learning_rate": [0.001, 0.002]}, budget={"quality": 0.2},
    )  # fmt: skip
    choices = Choices({"steps": steps}, only=only, seeds=1)
    return make_plan(ablation, get_preset("smoke"), choices, data_root=None, device="cpu")


@dataclass(frozen=True)
class Made:
    """A store of two experiments, whose tasks nobody carried out; `fewer` is the first with one row less."""

    store: Store
    plans: tuple[Plan, ...]
    fewer: Plan

    @property
    def known(self) -> Known:
        return Known(self.store, MACHINE, 2)

    @cached_property
    def tasks(self) -> list[Task]:
        runs = [run for plan in self.plans for run in plan.runs]
        kinds: list[Callable[[Run], Task]] = [
            lambda run: run, evaluation_of, lambda run: costs_of(run, MACHINE), lambda run: self.known.tasks(run)[0],
        ]  # fmt: skip
        return list(dict.fromkeys(kind(run) for kind in kinds for run in runs))

    def write(self, task: Task) -> None:
        """What carrying out a task leaves; it depends on the task alone."""
        folder, run = self.store.folder(task), getattr(task, "run", task)
        value = 0.01 + int(task.fingerprint[:6], 16) / 2**25
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(task, Run):
            curve = pd.DataFrame({"step": [1, 2], "seconds": [value, 2 * value], "validation-mae": [0.3, value / 10]})
            (folder / LOG).write_text(to_csv(curve))
            (folder / CHECKPOINT_FILE).write_bytes(random.Random(value).randbytes(200))
            write_json(folder / "environment.json", {"value": value})
            write_progress(folder, "done", step=2, steps=2)
        if isinstance(task, Evaluation):
            pd.DataFrame({"mae": [value, value / 3]}).to_parquet(folder / PER_IMAGE)
        rows = {"train": ("train", "training-time"), "evaluate": ("test", "mae"), "costs": ("", "macs")}
        if task.kind in rows:
            split, metric = rows[task.kind]
            cell = measured(metric, value, protocol=f"{metric}.1:x={value}")
            self.store.write_record(task, record_frame(of_run(run, MACHINE), [(split, cell)]))
        else:
            names = ("setup", "step", "image", "memory", "weights", "state")
            self.store.write_result(task, dict.fromkeys(names, value))

    def write_all(self, tasks: list[Task]) -> None:
        for task in tasks:
            self.write(task)
        for plan in self.plans:
            merge(plan, self.store, {}, MACHINE)

    def readings(self) -> dict[str, Any]:
        """All that is read of it, by a name; an AvqError for what is refused."""
        store = self.store
        asked: dict[str, Callable[[], Any]] = {
            "status": lambda: {(one.run, one.state, one.experiments) for one in status(store.root)},
            "earlier": lambda: {entry.run.name for entry in with_earlier(self.fewer, store).entries},
        }
        for plan in self.plans:
            name, folder = plan.experiment, store.experiments / plan.experiment
            asked[f"table {name}"] = lambda folder=folder: to_csv(load_results(folder))
            asked[f"ablation {name}"] = lambda name=name: ablation_of(store.root, name)
            asked[f"assembled {name}"] = lambda plan=plan: to_csv(assemble(plan, store, {}, MACHINE)).splitlines()
        for task in self.tasks:
            folder = store.folder(task)
            asked[f"finished {folder}"] = lambda task=task: store.finished(task)
            if task.kind == "forecast":
                asked[f"forecast {folder}"] = lambda task=task: self.known.model(task.run)
            if isinstance(task, Run):
                asked[f"log {folder}"] = lambda folder=folder: read_log(folder)
                asked[f"weights {folder}"] = lambda folder=folder: is_as_written(folder / CHECKPOINT_FILE)
        return {name: _or_refused(reading) for name, reading in asked.items()}


def _or_refused(reading: Callable[[], Any]) -> Any:
    try:
        return reading()
    except AvqError as error:
        return error if "\n" not in str(error) else "more than one line"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    store = Store(tmp_path_factory.mktemp("damage"))
    store.prepare()
    found = Made(store, (planned(3), planned(4, ONE)), planned(3, ONE))
    found.write_all(found.tasks)
    return found


def damages(path: Path, others: list[Path], rng: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """Every kind of damage that the file can take: its name, and what is there then (None: nothing)."""
    content = path.read_bytes()
    at = rng.randrange(len(content))
    yield "bit flipped", content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    yield "truncated", content[:at]
    yield "emptied", b""
    yield "deleted", None
    digits = [found.start() for found in re.finditer(rb"[0-9]", content)]
    if digits:
        at = rng.choice(digits)
        yield "digit changed", content[:at] + b"%d" % ((content[at] - 48 + rng.randint(1, 9)) % 10) + content[at + 1 :]
    if others:
        yield "another's", rng.choice(others).read_bytes()
    if path.suffix == ".json":
        whole = json.loads(content)
        name = rng.choice(sorted(whole))
        wrong = [[], 5, "text", {}, {**whole, name: 5}, {**whole, name: "text"}, {**whole, name: [[]]}, {"runs": 5},
                 {"state": []}, {"settings": []}, {name: whole[name]}]  # fmt: skip
        yield "another shape", json.dumps(rng.choice(wrong)).encode()


def judged(before: dict[str, Any], after: dict[str, Any]) -> str:
    """`equal`, `refused`, `healed` (something counts as unfinished, or is said to be damaged), or what differs."""
    outcomes = {"equal"}
    unfinished = any(before[name] and not after[name] for name in before if name.startswith("finished "))
    for name, was in before.items():
        now = after[name]
        if isinstance(now, AvqError):
            outcomes.add("refused")
        elif now != was:
            kind = name.partition(" ")[0]
            if kind == "assembled":
                lost, new = set(was) - set(now), set(now) - set(was)
                said = all("time-to-quality" in line and "log.csv is damaged" in line for line in new)
                good = said and (unfinished or len(lost) == len(new))
            elif kind == "earlier":
                good = now < was
            elif kind in ("ablation", "status"):  # nothing is judged or shown of a table that is refused
                good = any(isinstance(after[name], AvqError) for name in after if name.startswith("table "))
            else:
                good = kind in ("finished", "forecast", "log", "weights") and not now
            if not good:
                return f"{name}: {was} is {now}"
            outcomes.add("healed")
    return max(outcomes, key=["equal", "healed", "refused"].index)


def attack(made: Made, count: int, seed: int) -> Counter[tuple[str, str]]:
    """Damage one file after the other, and mend it; how often each kind of file ended how."""
    rng, found = random.Random(seed), Counter[tuple[str, str]]()
    before, root = made.readings(), made.store.root
    files = {path: path.read_bytes() for path in sorted(root.rglob("*.*")) if path.is_file() and path.name[0] != "."}
    order = [path for _ in range(-(-count // len(files))) for path in rng.sample([*files], len(files))]
    for path in order[:count]:
        others = [other for other in files if other.name == path.name and files[other] != files[path]]
        kind, damaged = rng.choice([*damages(path, others, rng)])
        path.unlink() if damaged is None else path.write_bytes(damaged)
        after = made.readings()
        outcome = judged(before, after)
        assert outcome in ("equal", "healed", "refused"), f"{path}, {kind}: {outcome}"
        found[path.name, outcome] += 1
        if outcome != "equal" and path.name not in (LOG, CHECKPOINT_FILE):
            made.write_all([task for task in made.tasks if not after[f"finished {made.store.folder(task)}"]])
            assert made.readings() == before, f"{path}, {kind}: not made again"
        for there, content in files.items():
            if not there.exists() or there.read_bytes() != content:
                there.write_bytes(content)
    return found


def test_no_damage_passes_unseen(made: Made) -> None:
    assert {outcome for _, outcome in attack(made, 24, seed=1)} == {"equal", "healed", "refused"}


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_thousand_damages(made: Made) -> None:
    found = attack(made, 1000, seed=2)
    print(*sorted(found.items()), sep="\n")
    assert sum(found.values()) >= 1000
