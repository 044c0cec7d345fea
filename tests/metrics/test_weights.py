"""The registry of weights: search order, verification, fetching and adding; nothing half or false is ever taken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from avq.errors import AvqError, UsageError
from avq.metrics import fetching, weights
from avq.metrics.weights import MissingWeightsError, Weights, WeightsFile, find_weights

CONTENT = b"tensors of a small network"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One registered file, served from a folder in the place of the network; the weights folder is `here`."""
    source = tmp_path / "served" / "net.pth"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    known = WeightsFile("net.pth", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "none", url=source.as_uri())
    monkeypatch.setattr(weights, "REGISTRY", {"net": Weights("net", (known,))})
    monkeypatch.setattr(fetching, "REGISTRY", weights.REGISTRY)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("AVQ_WEIGHTS_DIR", str(tmp_path / "here"))
    return source


def test_missing_weights_name_the_command_that_fetches_them(served: Path) -> None:
    with pytest.raises(MissingWeightsError, match="missing: `avq-bench weights fetch net`"):
        find_weights("net")
    assert weights.available() == ()


def test_fetched_weights_are_found(served: Path, tmp_path: Path) -> None:
    counted: list[int] = []
    assert fetching.fetch("net", counted.append) == tmp_path / "here" / "net.pth"
    assert sum(counted) == len(CONTENT)
    assert find_weights("net").read_bytes() == CONTENT
    assert weights.available() == ("net",)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", CONTENT[:-1] + b"X", b""])
def test_what_is_not_what_it_says_is_refused_and_leaves_nothing(served: Path, tmp_path: Path, content: bytes) -> None:
    served.write_bytes(content)
    with pytest.raises(AvqError, match="refused"):
        fetching.fetch("net")
    with pytest.raises(UsageError, match="not what its name says"):
        fetching.add(served)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_failed_fetch_keeps_what_was_there(served: Path, tmp_path: Path) -> None:
    fetching.fetch("net")
    served.unlink()
    with pytest.raises(AvqError, match=r"cannot fetch .* weights add FILE"):
        fetching.fetch("net")
    assert find_weights("net").read_bytes() == CONTENT


def test_a_damaged_file_is_named_and_not_used(served: Path, tmp_path: Path) -> None:
    (tmp_path / "here" / "net.pth").write_bytes(CONTENT[:-1] + b"X")
    with pytest.raises(MissingWeightsError, match=r"here/net.pth is not what its name says"):
        find_weights("net")


def test_added_by_content_whatever_the_name(served: Path, tmp_path: Path) -> None:
    other = tmp_path / "download (1).bin"
    other.write_bytes(CONTENT)
    assert fetching.add(other) == ("net", tmp_path / "here" / "net.pth")
    other.write_bytes(b"something else")
    with pytest.raises(UsageError, match="none of the registered weights"):
        fetching.add(other)


def test_the_named_folder_comes_before_torch_hubs_cache(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert find_weights("net") == cached
    here = tmp_path / "here" / "net.pth"
    here.write_bytes(b"damaged")
    assert find_weights("net") == cached  # the next one serves
    here.write_bytes(CONTENT)
    assert find_weights("net") == here
    monkeypatch.setenv("AVQ_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"nowhere .* is not a folder"):
        find_weights("net")


def test_every_registered_file_can_be_checked_and_every_network_fetched() -> None:
    for entry in weights.REGISTRY.values():
        assert fetching.fetched_file(entry).url.startswith("https://")
        for known in entry.files:
            assert len(known.sha256) == 64
            assert known.licence
            assert known.source


def test_loading_never_unpickles(tmp_path: Path) -> None:
    import pickle

    from avq.metrics.tensors import load_tensors

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(AvqError, match="read safely"):
        load_tensors(path)
    assert not (tmp_path / "sprung").exists()
