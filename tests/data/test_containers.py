"""Hostile, damaged and mistaken containers."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from pathlib import Path

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avq.data.containers import Unusable
from avq.data.open import open_container
from avq.errors import UsageError

from .made import CONTAINERS, as_folder, as_lmdb, as_tar, as_zip, encoded, photographs, picture, snapshot


def read_all(path: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for entry in open_container(path).entries():
        try:
            found[entry.key] = entry.read()
        except Unusable as error:
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


def test_endless_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avq.data.archives.MOST_BYTES", 10_000)
    files = {"bomb.png": bytes(200_000), "good.jpg": encoded(picture(1))}
    for path in (as_zip(files, tmp_path / "a"), as_tar(files, tmp_path / "a")):
        found = read_all(path)
        assert "which no image needs" in str(found["bomb.png"])
        assert found["good.jpg"] == files["good.jpg"]


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz", "faces.parquet", "data.bin"])
def test_a_web_page_saved_as_an_archive_is_named_for_what_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>")
    with pytest.raises(UsageError, match=r"is a web page \(HTML\), not what its name says: a quota") as caught:
        open_container(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "parquet-struct"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_a_container_that_was_cut_off_is_named(tmp_path: Path, kind: str, share: float) -> None:
    path = CONTAINERS[kind](photographs(30), tmp_path / "a")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UsageError, match="damaged or incomplete") as caught:
        read_all(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tar_cut_between_two_files_is_noticed(tmp_path: Path) -> None:
    path = as_tar({"a.jpg": bytes(512), "b.jpg": bytes(512)}, tmp_path / "a")
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(UsageError, match="neither another file nor an end"):
        read_all(path)


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
        (lambda p: p, "no image .* in"),
        (lambda p: _file(p / "x.dat", b"nonsense"), "neither a folder nor a zip.*b'nonsense'"),
        (lambda p: _file(p / "x.zip", b""), "it is empty"),
        (lambda p: as_zip({"notes.txt": b"x"}, p / "x"), "holds no image"),
        (lambda p: as_zip({"l/data.mdb": b"x"}, p / "x"), "cannot be read inside a zip: unzip it"),
        (lambda p: _file(p / "lmdb" / "data.mdb", b"junk" * 5000), "is not an LMDB"),
        (lambda p: as_zip(photographs(1), p / "a").parent, r"It holds a\.zip: name that"),
    ],
    ids=["nothing", "empty-folder", "nonsense", "empty-file", "no-image", "lmdb-in-zip", "no-lmdb", "folder-of-zips"],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_container(make(tmp_path))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def _file(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_hidden_and_foreign_files_do_not_count(tmp_path: Path) -> None:
    files = {".hidden.jpg": b"x", "__MACOSX/a.jpg": b"x", "notes.txt": b"x", "A.JPEG": b"yes", "deep/er/b.WebP": b"yes"}
    for path in (as_folder(files, tmp_path / "f"), as_zip(files, tmp_path / "a"), as_tar(files, tmp_path / "a")):
        assert set(read_all(path)) == {"A.JPEG", "deep/er/b.WebP"}


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


def test_an_unreadable_file_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_folder(photographs(3), tmp_path)

    def read(path: Path) -> bytes:
        if path.name == "001.png":
            raise PermissionError(13, "Permission denied")
        return b"an image"

    monkeypatch.setattr(Path, "read_bytes", read)
    assert read_all(tmp_path)["001.png"] == "Permission denied"


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
        patch.setattr(tarfile, "open", lambda *args: opened.append(whole(*args)) or opened[-1])
        most = max(len(opened[-1].members) for _ in open_container(path).entries())  # type: ignore[attr-defined]
    assert most <= 1
