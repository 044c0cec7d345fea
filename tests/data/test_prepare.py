from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from avq.data import chunks
from avq.data.cards import Card, get_card
from avq.data.chunks import CHUNK
from avq.data.decode import Decoded, decode
from avq.data.open import open_container
from avq.data.prepare import Outcome, TooManyBad, prepare
from avq.data.prepared import Prepared, check, find_prepared
from avq.errors import AvqError, UsageError

from .made import CONTAINERS, Files, as_folder, as_lmdb, as_tar, as_zip, encoded, photographs, picture, snapshot

CARD = get_card("folder")
REPOSITORY = Path(__file__).parents[2]


def make(source: Path, output: Path, card: Card = CARD, size: int = 16, **options: object) -> Outcome:
    return prepare(card, open_container(source), size, output, processes=False, **options)  # type: ignore[arg-type]


def table(prepared: Prepared) -> list[dict[str, str]]:
    with (prepared.folder / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def splits(prepared: Prepared) -> dict[str, bytes]:
    return {split: prepared.images(split, count).tobytes() for split, count in prepared.counts.items()}


@pytest.fixture(scope="module")
def files() -> Files:
    return photographs(70, prefix="deeper/")


@pytest.fixture(scope="module")
def expected(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("plain")
    return make(as_folder(files, folder / "source"), folder / "out").prepared


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_same_images_in_the_same_splits_from_any_container(
    kind: str, files: Files, expected: Prepared, tmp_path: Path
) -> None:
    source = CONTAINERS[kind](files, tmp_path / "source")
    before = snapshot(tmp_path)
    prepared = make(source, tmp_path / "out").prepared
    assert splits(prepared) == splits(expected)
    assert prepared.content == expected.content
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"out"}, "nothing beside the source"
    check(prepared)


def test_the_manifest_says_what_was_done(expected: Prepared, files: Files) -> None:
    manifest = expected.manifest
    assert manifest["source"]["kind"] == "folder"
    assert "Lanczos" in manifest["filter"]
    assert "white" in manifest["rules"]
    assert {"pillow", "numpy", "libjpeg_turbo"} <= manifest["versions"].keys()
    assert manifest["counts"]["source"] == 70
    assert sum(expected.counts.values()) == 70
    lines = table(expected)
    assert [line["key"] for line in lines] == sorted(files)
    assert {(line["width"], line["height"]) for line in lines} == {("40", "36")}
    assert not [line for line in lines if line["note"]]
    assert expected.images("train", 3).shape == (3, 16, 16, 3)


def test_images_lie_where_the_table_says(expected: Prepared, files: Files) -> None:
    for line in table(expected):
        found = decode(files[line["key"]], 16)
        assert isinstance(found, Decoded)
        assert found.digest.hex() == line["pixels_sha256"]
        split = line["split"]
        assert np.array_equal(expected.images(split, expected.counts[split])[int(line["place"])], found.pixels)


@pytest.mark.parametrize(("workers", "processes"), [(1, False), (3, False), (2, True)])
def test_the_same_bytes_for_any_number_of_workers(
    files: Files, tmp_path: Path, expected: Prepared, workers: int, processes: bool
) -> None:
    source = open_container(Path(expected.source_path))
    made = prepare(CARD, source, 16, tmp_path, workers=workers, processes=processes)
    assert snapshot(made.prepared.folder) == snapshot(expected.folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder-16.lock", "folder-16"]


def test_what_is_there_is_not_made_again(files: Files, expected: Prepared, tmp_path: Path) -> None:
    again = make(Path(expected.source_path), expected.folder.parent)
    assert again.reused
    assert make(as_zip(files, tmp_path / "zipped"), expected.folder.parent).reused, "the same images in a zip"
    other = as_folder(photographs(40, start=100), tmp_path / "other")
    with pytest.raises(UsageError, match="was prepared from other images"):
        make(other, expected.folder.parent)
    assert snapshot(expected.folder) == snapshot(again.prepared.folder)


def test_the_output_must_not_lie_in_the_source(files: Files, tmp_path: Path) -> None:
    source = as_folder(files, tmp_path / "source")
    with pytest.raises(UsageError, match="lies inside the source"):
        make(source, source / "deeper")
    assert snapshot(source).keys() == files.keys()


def test_progress_counts_every_image(files: Files, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    for form, total in ((as_tar, None), (as_zip, 70)):
        make(form(files, tmp_path / "a"), tmp_path / form.__name__, on_progress=lambda *done: seen.append(done))
        assert seen[-1] == (70, total)


# Odd and damaged images


ODD = {
    "truncated.jpg": (encoded(picture(1))[:-300], "truncated"),
    "zero.jpg": (b"", "empty file"),
    "page.jpg": (b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
    "small.png": (encoded(picture(2, 15, 40), "PNG"), "15x40 is smaller than 16x16"),
    "bomb.png": (encoded(picture(3).convert("1").resize((9000, 9000)), "PNG"), "decompression bomb: 9000x9000"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_what_cannot_be_used_is_listed_with_the_reason(kind: str, files: Files, tmp_path: Path) -> None:
    odd = {name: data for name, (data, _) in ODD.items()}
    source = CONTAINERS[kind]({**files, **odd}, tmp_path / "source")
    with pytest.raises(TooManyBad, match=r"cannot use 5 of 75 images, the first .*named in") as caught:
        make(source, tmp_path / "out", max_bad=4)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    prepared = make(source, tmp_path / "out", max_bad=5).prepared
    assert prepared.manifest["counts"]["unusable"] == 5
    notes = {line["key"]: line["note"] for line in table(prepared) if line["note"]}
    assert len(notes) == 5
    if kind not in ("lmdb", "parquet-binary"):
        for name, (_, reason) in ODD.items():
            (note,) = [note for key, note in notes.items() if key.endswith(name)]
            assert reason in note
    check(prepared)


def test_the_set_says_what_became_of_its_source(files: Files, tmp_path: Path) -> None:
    odd = {"grey.png": encoded(picture(80).convert("L"), "PNG"), "notes.txt": b"", ".thumbnails/a.jpg": b"x"}
    source = as_folder(files | odd | {f"bad{n}.jpg": b"" for n in range(7)}, tmp_path / "source")
    prepared = make(source, tmp_path / "out", max_bad=7).prepared
    assert prepared.account == [
        "71 images taken, 1 of them converted (1 grey), 7 refused",
        "ignored files: 1 hidden, 1 .txt",
        *(f"refused bad{n}.jpg: empty file" for n in range(5)),
        "refused 2 more, listed in images.csv",
    ]
    del prepared.manifest["account"]  # as of sets of the first release
    assert prepared.account == ["71 images taken, 7 refused", "refused 7 images, listed in images.csv"]


def test_chunks_end_before_they_hold_too_many_bytes(files: Files, expected: Prepared, tmp_path: Path) -> None:
    """Of 32 images of 256 MiB each, not all are in memory at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("avq.data.prepare.CHUNK_BYTES", 3000)
        patch.setattr("avq.data.prepare._finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(as_tar(files, tmp_path / "a"), tmp_path / "out")
    assert sum(1 for _ in (tmp_path / "out").rglob("*.json")) > 10
    assert splits(make(tmp_path / "a.tar", tmp_path / "out").prepared) == splits(expected)


def test_a_worker_that_is_killed_is_one_line_with_advice(tmp_path: Path) -> None:
    source = open_container(as_folder(photographs(3 * CHUNK), tmp_path / "source"))

    def kill(done: int, total: int | None) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(AvqError, match=r"was killed after .* fewer --workers than 2; what is done stays"):
        prepare(CARD, source, 16, tmp_path / "out", workers=2, on_progress=kill)


def test_too_few_images_for_three_splits(tmp_path: Path) -> None:
    source = as_folder({"only.png": encoded(picture(1), "PNG")}, tmp_path / "source")
    with pytest.raises(UsageError, match="has only 1 images"):
        make(source, tmp_path / "out")


# Splits by name


def test_the_canonical_index_decides_where_it_is_complete(tmp_path: Path) -> None:
    card = get_card("celebahq").model_copy(update={"indices": 40})
    whole = {f"CelebA-HQ-img/{number}.jpg": encoded(picture(number)) for number in range(40)}
    whole["CelebA-HQ-img/extra.jpg"] = encoded(picture(99))
    prepared = make(as_zip(whole, tmp_path / "whole"), tmp_path / "out", card).prepared
    home = {line["key"]: line["split"] for line in table(prepared)}
    for number in range(40):
        want = "test" if number >= 32 else "validation" if number >= 28 else "train"
        assert home[f"CelebA-HQ-img/{number}.jpg"] == want
    assert prepared.manifest["split"]["by_name"]
    del whole["CelebA-HQ-img/7.jpg"]
    partial = make(as_zip(whole, tmp_path / "partial"), tmp_path / "other", card).prepared
    assert not partial.manifest["split"]["by_name"]
    hashing = card.model_copy(update={"rule": "hash"})
    by_hash = make(as_zip(whole, tmp_path / "partial"), tmp_path / "third", hashing).prepared
    assert splits(partial) == splits(by_hash)


def test_a_damaged_image_does_not_take_the_index_from_the_others(tmp_path: Path) -> None:
    card = get_card("celebahq").model_copy(update={"indices": 40})
    files = {f"{number:05}.jpg": encoded(picture(number)) for number in range(40)} | {"00003.jpg": b""}
    prepared = make(as_folder(files, tmp_path / "a"), tmp_path / "out", card, max_bad=1).prepared
    assert prepared.manifest["split"]["by_name"]
    assert prepared.counts == {"train": 27, "validation": 4, "test": 8}


def test_the_val_part_of_lsun_is_test(tmp_path: Path) -> None:
    card = get_card("lsun-bedroom")
    train, val = photographs(80), photographs(12, start=200)
    val["copy.png"] = encoded(picture(3), "PNG")  # the pixels of train's 003.png
    as_lmdb(train, tmp_path / "bedroom_train_lmdb")
    as_lmdb(val, tmp_path / "bedroom_val_lmdb")
    prepared = make(tmp_path, tmp_path / "out", card).prepared
    lines = table(prepared)
    assert {line["split"] for line in lines if line["key"].startswith("bedroom_val")} == {"test"}
    assert {line["split"] for line in lines if line["key"].startswith("bedroom_train")} == {"train", "validation", ""}
    assert prepared.counts["test"] == 13
    (left,) = [line for line in lines if line["note"]]
    assert left["key"] == "bedroom_train_lmdb/003"
    assert left["note"] == "left out: a copy of bedroom_val_lmdb/copy, which is in test"
    assert prepared.manifest["counts"]["left_out"] == 1
    check(prepared)
    alone = make(tmp_path / "bedroom_train_lmdb", tmp_path / "alone", card).prepared
    assert not alone.manifest["split"]["by_name"]
    assert alone.counts["test"] > 5


def test_masks_beside_celebahq_are_no_photographs(tmp_path: Path) -> None:
    card = get_card("celebahq")
    files = photographs(30, prefix="CelebAMask-HQ/CelebA-HQ-img/") | photographs(
        5, start=300, prefix="CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/"
    )
    for source in (as_zip(files, tmp_path / "a"), as_tar(files, tmp_path / "a"), as_folder(files, tmp_path / "a")):
        container = open_container(source, card.options["skip"])
        assert sum(1 for _ in container.entries()) == 30


# Killed


_KILLED = """
import sys, time
from pathlib import Path
from avq.data import chunks, prepare
from avq.data.cards import get_card
from avq.data.open import open_container
if __name__ == "__main__":
    source, output, processes = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "processes"
    slow, remove = float(sys.argv[4]), chunks.remove_pixels
    def late(folder, number):
        remove(folder, number)
        time.sleep(slow)
    chunks.remove_pixels = late
    def pause(done, total):
        time.sleep(slow)
    prepare.prepare(get_card("folder"), open_container(source), 16, output, workers=2, processes=processes,
                    on_progress=pause)
"""


@pytest.mark.parametrize("processes", ["threads", "processes"])
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, processes: str) -> None:
    """kill -9 again and again, while it decodes and while it writes the splits, until it ends."""
    source = as_tar({**photographs(6 * CHUNK + 5), "notes.txt": b""}, tmp_path / "source")
    whole = snapshot(make(source, tmp_path / "whole").prepared.folder)
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    output, stages = tmp_path / "out", set()
    for attempt in range(60):
        process = subprocess.Popen(
            [sys.executable, script, source, output, processes, "0.3" if attempt < 12 else "0"],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        work = output / ".folder-16.part"
        before = _state(work)
        while process.poll() is None and (_state(work) == before or attempt >= 12):
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        stages.add((work / "writing-splits").exists())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert stages == {True, False}, "killed in both halves"
    assert snapshot(output / "folder-16") == whole
    assert not (output / ".folder-16.part").exists()


def _state(work: Path) -> tuple[int, int, bool]:
    counts = (sum(1 for _ in (work / "chunks").glob(pattern)) for pattern in ("*.json", "*.npy"))
    return (*counts, (work / "writing-splits").exists())  # type: ignore[return-value]


def test_only_what_is_missing_is_decoded_again(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, decoded, whole = as_folder(files, tmp_path / "source"), [], chunks.decode

    def failing(data: bytes, size: int) -> object:
        decoded.append(data)
        if len(decoded) > CHUNK + 3:
            raise KeyboardInterrupt
        return whole(data, size)

    monkeypatch.setattr(chunks, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "out")
    monkeypatch.setattr(chunks, "decode", lambda data, size: decoded.append(data) or whole(data, size))
    decoded.clear()
    make(source, tmp_path / "out")
    assert len(decoded) == 70 - CHUNK


def test_work_for_a_changed_source_starts_afresh(files: Files, tmp_path: Path) -> None:
    source = as_folder({**files, "bad.jpg": b""}, tmp_path / "source")
    with pytest.raises(TooManyBad):
        make(source, tmp_path / "out")
    (source / "bad.jpg").write_bytes(encoded(picture(500)))
    prepared = make(source, tmp_path / "out").prepared
    assert prepared.manifest["counts"]["source"] == 71
    assert prepared.manifest["counts"]["unusable"] == 0


# Verifying


@pytest.fixture
def copied(expected: Prepared, tmp_path: Path) -> Path:
    shutil.copytree(expected.folder, tmp_path / "folder-16")
    return tmp_path


@pytest.mark.parametrize("name", ["train.npy", "validation.npy", "test.npy", "images.csv"])
def test_check_names_a_file_that_was_changed(copied: Path, name: str) -> None:
    path = copied / "folder-16" / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    prepared = find_prepared(copied, CARD, 16)
    assert prepared is not None
    with pytest.raises(AvqError, match=f"{name} is damaged or was changed"):
        check(prepared)
    path.write_bytes(data[:-9])
    with pytest.raises(UsageError, match=f"{name} has .* bytes, not"):
        check(prepared)
    path.unlink()
    with pytest.raises(UsageError, match=f"{name} is missing"):
        check(prepared)


def test_a_damaged_manifest_is_one_clear_line(copied: Path) -> None:
    path = copied / "folder-16" / "manifest.json"
    manifest = json.loads(path.read_text())
    for text, message in [
        (path.read_text()[:-40], "is damaged"),
        (json.dumps({**manifest, "format": 0}), "is of format 0, not 1"),
        (json.dumps({**manifest, "filter": "nearest"}), r"other rules than today's \(filter\)"),
        (json.dumps({key: value for key, value in manifest.items() if key != "content"}), "is damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            find_prepared(copied, CARD, 16)


def test_a_full_or_read_only_disk_is_an_os_error_and_loses_nothing(files: Files, tmp_path: Path) -> None:
    source = as_folder(files, tmp_path / "source")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        make(source, tmp_path / "file")
    assert snapshot(source).keys() == files.keys()
