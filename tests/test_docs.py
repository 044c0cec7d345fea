"""Every code block of docs/ is carried out, or, where it is half of a pair, shown to be as wrong or right as it says.

The marks are those of the README's test: ``<!-- run -->``, ``<!-- run: smoke -->`` (minutes) and
``<!-- run: file NAME -->``;
``<!-- wrong -->`` and ``<!-- right -->`` stand above the pairs of footguns.md.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import click
import numpy as np
import pytest
import yaml
from scipy.stats import entropy, sem, ttest_ind

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


class Block(NamedTuple):
    how: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"<!-- (run|wrong|right)(.*?) -->\n```(\w+)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [Block(f"{mark}{more}", language, text) for mark, more, language, text in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_has_a_mark(page: Path) -> None:
    assert page.read_text("utf-8").count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copytree(ROOT / "results", folder / "results")
    command = tmp_path / "bin" / "avq-bench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from avq.cli.main import cli; cli()" "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    for block in blocks(page):
        if block.how.startswith("run: file "):
            (folder / block.how.removeprefix("run: file ")).write_text(block.text)
        elif block.how.startswith("run"):
            python = block.language == "python"
            for words in [block.text] if python else block.text.splitlines():
                line = [sys.executable, "-c", words] if python else ["bash", "-c", words]
                done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def workflow_steps() -> list[str]:
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "check.yml").read_text("utf-8"))
    assert set(workflow["env"]) == {"ABLATION", "BASELINE"}
    assert (ROOT / workflow["env"]["BASELINE"]).is_file()
    return [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]


def test_the_workflow_calls_what_there_is() -> None:
    """Every `avq-bench` line of the example is understood by the command line; `pip install` has its file."""
    from avq.cli.main import cli

    lines = [line for step in workflow_steps() for line in step.splitlines()]
    calls = [shlex.split(line.split(" || ")[0].split(" >")[0]) for line in lines if line.startswith("avq-bench")]
    assert [words[1] for words in calls] == ["run", "check", "check", "check"]
    for words in calls:
        command = cli.get_command(click.Context(cli), words[1])
        assert command is not None
        command.make_context(words[1], words[2:], resilient_parsing=False)
    assert (ROOT / "constraints.txt").is_file()


# The pairs, carried out: what the first line of each gives, and why it is wrong.


def pairs() -> list[tuple[str, str]]:
    halves = [block for block in blocks(ROOT / "docs" / "footguns.md") if block.how in ("wrong", "right")]
    assert [half.how for half in halves] == ["wrong", "right"] * (len(halves) // 2)
    return [(wrong.text, right.text) for wrong, right in zip(halves[::2], halves[1::2], strict=True)]


def results(pair: int, name: str, **given: object) -> list[object]:
    out = []
    for text in pairs()[pair]:
        scope = dict(given)
        exec(text, scope)
        out.append(scope[name])
    return out


def test_every_pair_is_shown() -> None:
    assert len(pairs()) == 4


def test_beta_reaches_the_encoder() -> None:
    import torch
    from torch.nn import functional as F

    def reached(text: str) -> bool:
        latents, codes = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
        scope: dict[str, object] = {"F": F, "beta": 0.25, "latents": latents, "codes": codes}
        exec(text, scope)
        scope["loss"].backward()  # type: ignore[attr-defined]
        return latents.grad is not None

    assert [reached(text) for text in pairs()[0]] == [False, True]


def test_perplexity_is_counted_over_the_split() -> None:
    batches = [np.array([0, 1]), np.array([2, 3])]
    wrong, right = results(1, "perplexity", np=np, entropy=entropy, batches=batches, k=4)
    assert (wrong, right) == (pytest.approx(2), pytest.approx(4))


def test_rounding_keeps_the_mean() -> None:
    images = np.random.default_rng(0).random(100_000)
    wrong, right = results(2, "pixels", np=np, images=images)
    assert np.mean(wrong) - 255 * images.mean() == pytest.approx(-0.5, abs=0.01)
    assert np.mean(right) - 255 * images.mean() == pytest.approx(0, abs=0.01)


def test_images_are_no_evidence_between_models() -> None:
    """One model trained six times: its checkpoints differ a little, and thousands of images are sure of it."""
    random = np.random.default_rng(0)
    seeds = 0.05 + 0.0005 * random.standard_normal(6)
    images = 0.01 * random.standard_normal(10_000)
    errors = SimpleNamespace(a=seeds[2] + images, b=seeds[4] + images)
    given = {"np": np, "sem": sem, "ttest_ind": ttest_ind, "abs": abs}
    given |= {"errors_a": errors.a, "errors_b": errors.b, "mae_by_seed_a": seeds[:3], "mae_by_seed_b": seeds[3:]}
    wrong, right = results(3, "different", **given)
    assert wrong
    assert not right
