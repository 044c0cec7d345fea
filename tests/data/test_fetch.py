"""Fetching, from a server that the test runs: resumed, checked, and never unpacked to another place."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from avq.data.cards import Card, Download, get_card, list_datasets
from avq.data.fetch import download, fetch, unpack_lmdb
from avq.data.open import open_container
from avq.errors import AvqError

from .made import as_lmdb, photographs, snapshot


@dataclass
class Server:
    """What it serves, how much before it breaks off, and the ranges asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks_after: int | None = None
    knows_ranges: bool = True
    page: bool = False
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            data, start = state.files[self.path.strip("/")], 0
            if wanted and state.knows_ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8" if state.page else "application/zip")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : state.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{running.server_port}"
    thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    running.shutdown()
    thread.join()
    running.server_close()


DATA = bytes(range(256)) * 4000


def offered(server: Server, data: bytes = DATA, name: str = "x.zip") -> Download:
    server.files[name] = data
    return Download(url=f"{server.url}/{name}", name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    progress: list[tuple[str, int, int]] = []
    file = offered(server)
    assert download(file, tmp_path, lambda *values: progress.append(values)).read_bytes() == DATA
    assert progress[-1] == ("x.zip", len(DATA), len(DATA))
    download(file, tmp_path)
    assert server.asked == [None]
    assert snapshot(tmp_path) == {"x.zip": DATA}


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path, knows_ranges: bool) -> None:
    file = offered(server)
    server.breaks_after, server.knows_ranges = 300_000, knows_ranges
    with pytest.raises(AvqError, match=r"The part received so far stays: the same command resumes it") as caught:
        download(file, tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "x.zip.part").stat().st_size == 300_000
    server.breaks_after = None
    assert download(file, tmp_path).read_bytes() == DATA
    assert server.asked == [None, "bytes=300000-"]


def test_a_file_of_the_right_size_is_not_trusted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(DATA[:-1] + b"?")
    assert download(offered(server), tmp_path).read_bytes() == DATA
    assert server.asked == [None]


def test_other_bytes_are_refused_and_removed(server: Server, tmp_path: Path) -> None:
    file = offered(server)
    server.files["x.zip"] = DATA[:-1] + b"?"
    with pytest.raises(AvqError, match="not the published file"):
        download(file, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("declared", [True, False])
def test_a_quota_page_is_named(server: Server, tmp_path: Path, declared: bool) -> None:
    file = offered(server)
    server.files["x.zip"], server.page = b"<!DOCTYPE html>quota exceeded", declared
    with pytest.raises(AvqError, match="web page"):
        download(file, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.stat().st_size]


def test_without_a_network_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(AvqError, match=r"could not fetch http://127\.0\.0\.1:9/x") as caught:
        download(Download(url="http://127.0.0.1:9/x", name="x", bytes=5), tmp_path)
    assert "\n" not in str(caught.value)


def lsun(server: Server, tmp_path: Path) -> Card:
    """LSUN's churches, small, as they are published: a zip with an LMDB in it for each split."""
    downloads = []
    for split, count in (("val", 12), ("train", 60)):
        name = f"church_outdoor_{split}_lmdb"
        made = as_lmdb(photographs(count, start=1000 * (split == "val")), tmp_path / "made" / name)
        with zipfile.ZipFile(path := tmp_path / f"{name}.zip", "w") as archive:
            archive.write(made / "data.mdb", f"{name}/data.mdb")
            archive.writestr(f"{name}/lock.mdb", b"")
        downloads.append(offered(server, path.read_bytes(), f"{name}.zip"))
        path.unlink()
    return get_card("lsun-church").model_copy(update={"downloads": downloads})


def test_lsun_is_fetched_unpacked_and_ready_to_be_prepared(server: Server, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    card = lsun(server, tmp_path)
    folders = fetch(card, tmp_path / "out")
    assert {path.name for path in folders} == {"church_outdoor_val_lmdb", "church_outdoor_train_lmdb"}
    fetch(card, tmp_path / "out")
    assert len(server.asked) == 2
    assert not list((tmp_path / "out").glob("*.zip"))
    container = open_container(tmp_path / "out")
    assert (container.kind, container.count) == ("lmdb", 72)


def test_unpacking_writes_the_two_files_and_nothing_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(path := folder / "x.zip", "w") as archive:
        archive.writestr("../../../data.mdb", b"data")
        archive.writestr("../../evil.txt", b"evil")
        archive.writestr("/lock.mdb", b"lock")
    unpack_lmdb(path, folder / "x")
    assert set(snapshot(tmp_path)) == {"deep/er/x.zip", "deep/er/x/data.mdb", "deep/er/x/lock.mdb"}
    (folder / "y.zip").write_bytes(path.read_bytes()[:60])
    with pytest.raises(AvqError, match="is damaged"):
        unpack_lmdb(folder / "y.zip", folder / "y")


@pytest.mark.parametrize("name", list_datasets())
def test_downloads_on_cards_are_whole(name: str) -> None:
    for file in get_card(name).downloads:
        assert file.url.endswith(file.name)
        assert file.bytes > 0
        assert len(file.sha256) == 64
