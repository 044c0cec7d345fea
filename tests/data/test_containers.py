"""Hostile, damaged and mistaken containers."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avq.data.open import open_container
from avq.errors import UsageError

from .made import CONTAINERS, as_folder, as_lmdb, as_tar, as_zip, encoded, photographs, picture, snapshot


def read_all(path: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for entry in open_container(path).entries():
        try:
            found[entry.key] = entry.read()
        except Exception as error:
            found[entry.key] = str(error)
    return found


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_image_is_read_in_the_same_order_every_time(kind: str, tmp_path: Path) -> None:
    files = photographs(20)
    path = CONTAINERS[kind](files, tmp_path / "a")
    first, second = read_all(path), read_all(path)
    assert list(first) == list(second)
    assert list(first.values()) == list(files.values())
    container = open_container(path)
    assert container.kind == kind.partition("-")[0].partition(".")[0]
    assert container.count in (20, None)


def test_archives_with_names_that_lead_outside_write_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    image = encoded(picture(1))
    files = {"../../evil.jpg": image, "/tmp/evil-avq.jpg": image, "a/../../../evil.jpg": image, "..\\evil.jpg": image}
    for make in (as_zip, as_tar):
        path = make(files, inside / "archive")
        before = snapshot(tmp_path)
        assert set(read_all(path).values()) == {image}
        assert snapshot(tmp_path) == before
    assert not Path("/tmp/evil-avq.jpg").exists()


def test_links_and_devices_in_archives_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded(picture(5)))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("s.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("f.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        link = zipfile.ZipInfo("z.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, str(secret))
    found = read_all(tmp_path / "a.tar") | read_all(tmp_path / "a.zip")
    assert len(found) == 4
    assert all(isinstance(value, str) for value in found.values())
    assert "links in archives are not followed" in str(found["s.jpg"])
    assert "not a regular file" in str(found["f.jpg"])


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "lmdb"])
def test_endless_images_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("containers", "lmdb_file"):
        monkeypatch.setattr(f"avq.data.{module}.MOST_BYTES", 10_000)
    found = read_all(CONTAINERS[kind]({"bomb.png": bytes(200_000), "good.jpg": b"good"}, tmp_path / "a"))
    bad, good = found.values()
    assert "more than 10,000 bytes, which no image needs" in str(bad)
    assert good == b"good"


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz", "faces.parquet", "data.bin"])
def test_a_web_page_saved_as_an_archive_is_named_for_what_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>")
    with pytest.raises(UsageError, match=r"is a web page \(HTML\), not what its name says: a quota") as caught:
        open_container(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind not in ("folder", "tar-shards", "arrow")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_a_container_that_was_cut_off_is_named_and_its_beginning_read(tmp_path: Path, kind: str, share: float) -> None:
    path = CONTAINERS[kind](photographs(30), tmp_path / "a")
    file = path / "data.mdb" if path.is_dir() else path
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    if kind in ("tar", "tar.gz", "tar.xz"):  # the others have one block here, of which nothing is left
        *_, last = read_all(path).items()
        assert re.fullmatch(r"a\.tar[.a-z0-9]* after \d+ images", last[0])
        assert str(last[1]).startswith("damaged or incomplete")
        return
    with pytest.raises(UsageError, match=r"damaged or incomplete|nor a whole zip, tar") as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tar_cut_between_two_files_is_noticed(tmp_path: Path) -> None:
    path = as_tar({"a.jpg": bytes(512), "b.jpg": bytes(512)}, tmp_path / "a")
    path.write_bytes(path.read_bytes()[:1024])
    assert "neither another file nor an end" in str(read_all(path)["a.tar after 1 images"])


def test_a_header_of_a_tar_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**30
    path = as_tar({"a.jpg": b"a"}, tmp_path / "a")
    path.write_bytes(path.read_bytes()[:1024] + long.tobuf())
    assert "a header of 1,073,741,824 bytes" in str(read_all(path)["a.tar after 1 images"])


@pytest.mark.parametrize(
    ("kind", "file"), [("tar-shards", "shard-000.tar"), ("arrow", "data-00000-of-00002.arrow"), ("parquet-struct", "")]
)
def test_a_damaged_part_spoils_no_other(tmp_path: Path, kind: str, file: str) -> None:
    """Of several tars or Arrow files, or of a parquet file's row groups."""
    files = photographs(40)
    path = CONTAINERS[kind](files, tmp_path / "a")
    damaged = path / file
    data = bytearray(damaged.read_bytes())
    data[200:1000] = bytes(800)
    damaged.write_bytes(data)
    found = read_all(path)
    bad = {key: value for key, value in found.items() if isinstance(value, str)}
    assert len(bad) in (1, 2)
    assert all("damaged or incomplete" in value for value in bad.values())
    assert list(files.values())[-1] in found.values()


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_damaged_page_of_an_lmdb_spoils_no_other(tmp_path: Path, where: str) -> None:
    files = {f"{number:05}.jpg": bytes([number % 256]) * 300 for number in range(500)}
    file = as_lmdb(files, tmp_path / "x_lmdb") / "data.mdb"
    data = bytearray(file.read_bytes())
    leaves = [at for at in range(8192, len(data), 4096) if data[at + 10 : at + 12] == b"\x02\0"]
    at = leaves[0] if where == "first" else leaves[-1]
    data[at + 16 : at + 20] = b"\xff\xff\xff\xff"
    file.write_bytes(data)
    found = read_all(file)
    bad = [key for key, value in found.items() if isinstance(value, str)]
    assert bad[0] == f"x_lmdb/page {at // 4096}"
    assert len(found) - len(bad) > 450
    assert {key: value for key, value in found.items() if key not in bad}.items() <= {
        f"x_lmdb/{name[:-4]}": value for name, value in files.items()
    }.items()


def damages(folder: Path, first: int, last: int) -> Counter[str]:
    """How preparations of damaged containers end, counted; in a process of its own, which must not be killed."""
    (folder / "sources").mkdir()
    for kind, make in CONTAINERS.items():
        make(photographs(12), folder / "sources" / kind.replace(".", "-"))
    words = [sys.executable, Path(__file__).with_name("mutated.py"), folder / "sources", str(first), str(last)]
    surroundings = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = Counter[str]()
    for line in done.stdout.splitlines():
        ending, count = line.partition(": ")[2].rsplit(" ", 1)
        counts[ending] += int(count)
    return counts


def test_a_hundred_damages_end_in_a_set_or_one_line(tmp_path: Path) -> None:
    counts = damages(tmp_path, 0, 100)
    assert sum(counts.values()) == 100
    assert counts.keys() == {"whole", "some refused", "refused"}


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_five_thousand_damages_end_in_a_set_or_one_line(tmp_path: Path) -> None:
    assert sum(damages(tmp_path, 100, 5100).values()) == 5000


def test_a_damaged_member_of_a_zip_spoils_no_other(tmp_path: Path) -> None:
    files = photographs(6)
    with zipfile.ZipFile(path := tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    whole = bytearray(path.read_bytes())
    whole[whole.index(files["002.jpg"]) + 50] ^= 1
    path.write_bytes(whole)
    found = read_all(path)
    assert "CRC" in str(found["002.jpg"])
    assert {name for name, data in found.items() if data != files[name]} == {"002.jpg"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "there is nothing at"),
        (lambda p: p, "no image, LMDB, .* in .*: it is empty"),
        (lambda p: as_folder({"a.doc": b"", "b.doc": b"", "c": b""}, p), "it holds 2 .doc, 1 without suffix"),
        (lambda p: _file(p / "x.dat", b"nonsense"), "neither a folder nor a whole zip.*b'nonsense'"),
        (lambda p: _file(p / "x.zip", b""), "it is empty"),
        (lambda p: as_zip({"notes.txt": b"x"}, p / "x"), "holds no image"),
        (lambda p: as_zip({"l/data.mdb": b"x"}, p / "x"), "cannot be read inside a zip: unzip it"),
        (lambda p: _file(p / "lmdb" / "data.mdb", b"junk" * 5000), "it is not an LMDB"),
        (lambda p: as_zip(photographs(1), p / "a").parent, r"It holds a\.zip: name that"),
    ],
    ids=["none", "void", "documents", "nonsense", "empty-file", "no-image", "lmdb-in-zip", "no-lmdb", "folder-of-zips"],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_container(make(tmp_path))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def _file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar-shards"])
def test_hidden_and_foreign_files_do_not_count_and_are_counted(kind: str, tmp_path: Path) -> None:
    images = ["A.JPEG", "deep/er/b.WebP", "c.tif", "d.avif", "e.jfif", "f.GIF"]
    hidden = [".hidden.jpg", ".thumbnails/a.jpg", "x/.Trash-1000/files/a.jpg", "__MACOSX/a.jpg", "@eaDir/a/b.jpg"]
    others = ["notes.txt", "a.heic", "b.jxl", "c.TXT", "README", "drawing.eps"]
    path = CONTAINERS[kind](dict.fromkeys([*images, *hidden, *others], b"x"), tmp_path / "a")
    container = open_container(path)
    assert {entry.key.removeprefix("shard-000.tar/") for entry in container.entries()} == set(images)
    cls = {".cls": 1} if kind == "tar-shards" else {}
    assert container.ignored == {"hidden": 5, ".txt": 2, ".heic": 1, ".jxl": 1, ".eps": 1, "without suffix": 1} | cls


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    as_folder({"a/1.jpg": b"1"}, tmp_path / "set")
    as_folder({"2.jpg": b"2"}, tmp_path / "elsewhere")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "set" / "pipe.jpg")
    assert read_all(tmp_path / "set") == {
        "a/1.jpg": b"1", "b/2.jpg": b"2", "gone.jpg": "No such file or directory", "pipe.jpg": "not a regular file"
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet-struct", "lmdb", "arrow"])
def test_two_kinds_of_source_in_one_place_are_asked_about(kind: str, tmp_path: Path) -> None:
    CONTAINERS[kind](photographs(4), tmp_path / "data")
    as_folder(photographs(3), tmp_path / "assets")
    with pytest.raises(UsageError, match=r"holds .* files in .* and 3 image files in .*/assets: name the folder"):
        open_container(tmp_path)
    assert len(read_all(tmp_path / "assets")) == 3


def test_archives_beside_images_are_ignored_and_said(tmp_path: Path) -> None:
    as_zip(photographs(1), as_folder(photographs(3), tmp_path) / "old")
    assert open_container(tmp_path).ignored == {".zip": 1}


def test_parquet_in_folders_and_with_holes(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for number in range(2):
        rows = [{"bytes": b"%d" % number, "path": None}, None, {"bytes": None, "path": "elsewhere.jpg"}]
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": pa.array(rows, kind)}), folder / f"train-{number}.parquet")
    found = read_all(tmp_path)
    assert found["data/train-0.parquet/#0"] == b"0"
    assert found["data/train-1.parquet/#0"] == b"1"
    assert found["data/train-0.parquet/#1"] == "the row holds no bytes"
    assert found["data/train-1.parquet/elsewhere.jpg"] == "the row holds no bytes"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": pa.array(["a"])}, r"none may \(text\)"),
        ({"a": pa.array([b"x"]), "b": pa.array([b"x"])}, r"several columns may \(a, b\)"),
    ],
)
def test_parquet_must_say_which_column_holds_images(tmp_path: Path, columns: dict[str, pa.Array], message: str) -> None:
    pq.write_table(pa.table(columns), path := tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=message):
        open_container(path)


def test_several_lmdbs_and_a_read_only_one(tmp_path: Path) -> None:
    for name in ("x_train_lmdb", "x_val_lmdb"):
        as_lmdb(photographs(3), tmp_path / name)
    keys = list(read_all(tmp_path))
    assert keys[0] == "x_train_lmdb/000"
    assert keys[-1] == "x_val_lmdb/002"
    assert list(read_all(tmp_path / "x_val_lmdb")) == list(read_all(tmp_path / "x_val_lmdb" / "data.mdb"))
    with lmdb.open(str(tmp_path / "empty")):
        pass
    with pytest.raises(UsageError, match="holds no image"):
        open_container(tmp_path / "empty")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_fingerprint_follows_every_change_of_a_file(kind: str, tmp_path: Path) -> None:
    files = photographs(5)
    path = CONTAINERS[kind](files, tmp_path / "a")
    before = open_container(path).fingerprint
    assert open_container(path).fingerprint == before
    file = next(file for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file())
    file.write_bytes(file.read_bytes())
    assert open_container(path).fingerprint != before


def test_a_tar_is_read_as_a_stream(tmp_path: Path) -> None:
    """Headers of earlier files do not stay in memory."""
    path = as_tar({f"{n}.jpg": b"x" for n in range(500)}, tmp_path / "a")
    opened: list[tarfile.TarFile] = []
    whole = tarfile.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *args, **more: opened.append(whole(*args, **more)) or opened[-1])
        most = max(len(opened[-1].members) for _ in open_container(path).entries())  # type: ignore[attr-defined]
    assert most <= 1
