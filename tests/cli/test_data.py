from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "faces.zip"
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60):
            file = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file, "PNG")
            archive.writestr(f"{number}.png", file.getvalue())
        archive.writestr("broken.png", b"nothing")
    return path


def test_prepare_check_and_sheet(call, source, tmp_path):
    words = ["data", "prepare", "celebahq", "--source", str(source), "--size", "16", "--workers", "1"]
    refused = call(*words, code=1, says="cannot use image broken.png: cannot identify image file")
    assert "--max-bad 1 leaves it out" in refused.stderr
    words += ["--max-bad", "1"]
    done = call(*words)
    assert "60 images taken, 1 refused\nrefused broken.png: cannot identify image file\n" in done.stdout
    assert "next: avq-bench run" in done.stdout
    assert "was there already" in call(*words).stdout
    checked = call("data", "check", "--format", "csv")
    assert "celebahq,16,60,good" in checked.stdout
    assert "celebahq-16: 60 images taken, 1 refused\n  refused broken.png" in call("data", "check").stdout
    picture = tmp_path / "sheet.png"
    drawn = call("data", "sheet", "celebahq", "--size", "16", "--split", "train", "--images", "9", "-o", str(picture))
    assert drawn.exit_code == 0, drawn.output
    with Image.open(picture) as image:
        assert image.size == (3 * 66 + 2, 3 * 66 + 2)
    (train,) = tmp_path.rglob("celebahq-16/train.npy")
    data = bytearray(train.read_bytes())
    data[-1] ^= 1
    train.write_bytes(data)
    found = call("data", "check", "celebahq", code=1)
    assert "train.npy is damaged or was changed" in found.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "cifar10", "--source", "."], "cifar10 needs no preparing"),
        (["prepare", "celebahk", "--source", "."], "did you mean 'celebahq'"),
        (["prepare", "celebahq", "--source", "nowhere"], "there is nothing at"),
        (["prepare", "celebahq", "--source", ".", "--size", "3"], "image_size must be from 16"),
        (["check"], "nothing of any dataset is prepared in"),
        (["check", "celebahq", "--size", "64"], "nothing of celebahq at 64 pixels is prepared"),
        (["sheet", "celebahq", "-o", "nowhere/x.png"], "there is no folder nowhere"),
        (["sheet", "synthetic-faces", "-o", "x.nonsense"], "end it in .png"),
        (["prepair"], "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line(call, in_empty_folder, words, message):
    call("data", *words, code=2, says=message)


@pytest.mark.parametrize(
    ("name", "word"), [("celebahq", "non-commercial"), ("imagenet", "register"), ("folder", "name a folder")]
)
def test_fetch_says_how_to_get_what_needs_consent(call, name, word):
    done = call("data", "fetch", name, code=2, says=f"{name} cannot be fetched for you.")
    assert word in done.stderr


@pytest.mark.parametrize("name", ["fetch", "prepare", "check", "sheet"])
def test_every_command_has_help_with_examples(call, name):
    assert f"avq-bench data {name}" in call("data", name, "--help").output


@pytest.mark.parametrize("root", ["", "sets"])
def test_images_of_ones_own_have_a_name(call, source, tmp_path, root):
    """Several side by side, in the cache or in a data root, known ever after."""
    place = ("--data-root", str(tmp_path / root)) if root else ()
    words = ["data", "prepare", "folder", "--source", str(source), "--size", "16", "--workers", "1", "--max-bad", "1"]
    for name in ("pets", "cars"):
        made = call(*words, "--as", name, *place)
        assert f"next: avq-bench run ablation_levels --dataset {name} --set image_size=16" in made.stdout
        assert made.stdout.rstrip().endswith(" ".join(place) or "image_size=16")
        assert (tmp_path / (root or "cache/avq-bench/data") / f"{name}-16" / "train.npy").is_file()
    os.environ.pop("AVQ_DATASETS")
    assert "was there already" in call("data", "prepare", "pets", *words[3:], *place).stdout
    for name in ("pets", "cars"):
        assert f"{name},16,60,good" in call("data", "check", *place, "--format", "csv").stdout
        call("data", "sheet", name, "--size", "16", *place, "-o", str(tmp_path / "x.png"))
    call(*words, "--as", "celebahq", code=2, says="there is another dataset called 'celebahq'")
    call(*words, "--as", "a/b", code=2, says="'a/b' cannot be the name of a dataset")


def test_a_sample_is_chosen_by_a_seed(call, source, tmp_path):
    found = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        words = ["data", "prepare", "folder", "--source", str(source), "--size", "16", "--as", name, "--max-bad", "1"]
        made = call(*words, "--images", "20", "--seed", seed)
        assert "ignored files: 41 not in the sample" in made.stdout
        assert "was there already" in call(*words, "--images", "20", "--seed", seed).stdout
        (train,) = tmp_path.rglob(f"{name}-16/train.npy")
        found.append(train.read_bytes())
    assert found[0] == found[1] != found[2]
    call(*words, code=2, says="was prepared from other images")


def test_names_of_files_do_not_reach_the_terminal_as_they_are(call, tmp_path):
    for number in range(2):
        (tmp_path / f"evil\x1b[31m\n\udcff{number}.jpg").write_bytes(b"junk")
    for number in range(40):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(tmp_path / f"{number}.png")
    words = ["data", "prepare", "folder", "--source", str(tmp_path), "--size", "16", "--workers", "1"]
    refused = call(*words, "--output", str(tmp_path.with_name("sets")), code=1)
    done = call(*words, "--output", str(tmp_path.with_name("sets")), "--max-bad", "2")
    for text in (refused.output, done.output):
        assert "\x1b" not in text
        assert r"refused evil\x1b[31m\n\udcff0.jpg: cannot identify" in text


@pytest.mark.parametrize(
    ("number", "at_once"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)],
    ids=["ctrl-c-at-once", "ctrl-c", "terminated"],
)  # fmt: skip
def test_stopped_it_says_one_line_and_leaves_nothing_behind(source, tmp_path, number, at_once):
    """Workers are stopped while they import, and while they decode."""
    (tmp_path / "tmp").mkdir()
    with zipfile.ZipFile(source, "a") as archive:
        for more in range(600):
            archive.writestr(f"more{more}.png", archive.read("1.png"))
    words = ["data", "prepare", "folder", "--source", str(source), "--size", "16", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "avq", *words, "--output", str(tmp_path / "sets")], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")}, cwd=Path(__file__).parents[2], start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell's background jobs ignore
    )  # fmt: skip
    while not list(tmp_path.glob("sets/.folder-16.part/chunks" + ("" if at_once else "/*.json"))):
        time.sleep(0.01)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, said = process.communicate()
    assert said == "Stopped. What is finished is saved: give the same command again to resume.\n"
    assert process.returncode == 130
    assert not list((tmp_path / "tmp").iterdir())


CARD = """
kind = "folder"
summary = "pictures of the garden"
source = "my camera"
licence = "mine"
default_size = 16
flip = true
shares = { validation = 0.1, test = 0.2 }
"""


def test_a_card_of_a_users_own(call, source, tmp_path):
    """One TOML: listed, shown, prepared and trained on, by worker processes too."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "garden.toml").write_text(CARD)
    call("show", "garden", code=2, says="unknown")
    cards = ("--cards", str(folder))
    assert "garden,pictures of the garden" in call("list", "datasets", *cards, "--format", "csv").stdout
    assert "my camera" in call("show", "garden", *cards).stdout
    made = call("data", "prepare", "garden", "--source", str(source), "--workers", "1", "--max-bad", "1", *cards)
    assert f"--dataset garden --set image_size=16 --cards {folder}" in made.stdout
    words = ["-m", "avq", "train", "patch-kmeans", "--dataset", "garden", *cards, "--set", "codebook_size=16"]
    done = subprocess.run(
        [sys.executable, *words, "--seeds", "1", "--output", str(tmp_path / "store")], cwd=Path(__file__).parents[2],
        env=os.environ | {"AVQ_DATASETS": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "patch-kmeans" in done.stdout
