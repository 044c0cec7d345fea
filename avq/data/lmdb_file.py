"""LMDB files, read page by page with every number checked.

LMDB's own library trusts what it maps into memory: a file that is cut off or damaged kills the process without a word.
This reads the same format (version 1 of 64-bit machines: `struct MDB_meta`, `MDB_page` and `MDB_node` in LMDB's mdb.c).
(Torch-free.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from avq.data.containers import Entry, Unusable, unreadable
from avq.data.decode import MOST_BYTES

_MAGIC, _VERSION, _HEADER = 0xBEEFC0DE, 1, 16
_META = struct.Struct("<II16x I44x 4xHH24xQQ QQ")
_PAGE = struct.Struct("<Q2xHI")
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_SEVERAL = 4  # values of one key
_ELSEWHERE = 1  # the value has pages of its own


class Meta(NamedTuple):
    """One of the two pages that say where the tree is; the one of the latest transaction counts."""

    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


def read_meta(path: Path) -> Meta:
    """Where the tree of an LMDB file is.

    Raises:
        ValueError: it is no LMDB, or is shorter than it says.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        metas = [_meta(os.pread(file.fileno(), _META.size, _HEADER))]
        page_size = metas[0].page_size if metas[0] else 4096
        metas.append(_meta(os.pread(file.fileno(), _META.size, page_size + _HEADER)))
    meta = max(filter(None, metas), key=lambda one: one.transaction, default=None)
    if meta is None or not 256 <= meta.page_size <= 2**16:
        raise ValueError("it is not an LMDB of version 1")
    if meta.flags & _SEVERAL:
        raise ValueError("its keys may have several values")
    if size < (meta.last_page + 1) * meta.page_size:
        raise ValueError(f"{size:,} of {(meta.last_page + 1) * meta.page_size:,} bytes")
    return meta


def entries_of(file: IO[bytes], meta: Meta, name: str) -> Iterator[Entry]:
    """The entries of an open LMDB file in the order of their keys, each called `name`/key."""
    seen = set[int]()
    found = 0
    pages = [(meta.root, meta.depth)] if meta.depth else []
    while pages:
        number, depth = pages.pop()
        try:
            nodes, is_branch = _nodes(file.fileno(), meta, number)
            if number in seen or is_branch != (depth > 1):
                raise ValueError("it is not where it belongs in the tree")
        except (ValueError, OSError) as error:  # it stands for all that hung from it
            yield unreadable(f"{name}/page {number}", error)
            continue
        seen.add(number)
        if is_branch:
            pages += [(low | high << 16 | flags << 32, depth - 1) for low, high, flags, _, _ in reversed(nodes)]
            continue
        for low, high, flags, key, value in nodes:
            label = f"{name}/{key.decode('utf-8', 'backslashreplace')}"
            yield Entry(label, partial(_read, file.fileno(), meta, low | high << 16, flags, value))
        found += len(nodes)
    if found != meta.entries:
        yield unreadable(name, ValueError(f"{found:,} of {meta.entries:,} images are there"))


def _meta(page: bytes) -> Meta | None:
    if len(page) < _META.size:
        return None
    magic, version, *values = _META.unpack(page)
    return Meta(*values) if (magic, version) == (_MAGIC, _VERSION) else None


def _nodes(file: int, meta: Meta, number: int) -> tuple[list[tuple[int, int, int, bytes, bytes]], bool]:
    """The nodes of a page, each with the rest of the page after its key; and whether it is a branch."""
    page = _at(file, meta, number, meta.page_size)
    own_number, kind, lower = _PAGE.unpack_from(page)
    if own_number != number or kind not in (_BRANCH, _LEAF):
        raise ValueError("it is no page of the tree")
    nodes = []
    for at in range(_HEADER, lower & 0xFFFF, 2):
        start = int.from_bytes(page[at : at + 2], "little")
        head, rest = page[start : start + _NODE.size], page[start + _NODE.size :]
        *numbers, length = _NODE.unpack(head) if len(head) == _NODE.size else (0, 0, 0, 2**16)
        if length > len(rest):
            raise ValueError("a node reaches beyond it")
        nodes.append((*numbers, rest[:length], rest[length:]))
    return nodes, kind == _BRANCH


def _read(file: int, meta: Meta, size: int, flags: int, rest: bytes) -> bytes:
    """The value of a leaf's node."""
    if size > MOST_BYTES:
        raise Unusable(f"more than {MOST_BYTES:,} bytes, which no image needs")
    if flags & ~_ELSEWHERE:
        raise Unusable("not a value, but a part of the database")
    if not flags:
        value = rest[:size]
    else:
        (number,) = struct.unpack_from("<Q", rest)
        page = _at(file, meta, number, _HEADER + size)
        own_number, kind, pages = _PAGE.unpack_from(page)
        if own_number != number or kind != _OVERFLOW or pages * meta.page_size < len(page):
            raise Unusable("its pages are damaged")
        value = page[_HEADER:]
    if len(value) != size:
        raise Unusable("it reaches beyond its page")
    return value


def _at(file: int, meta: Meta, number: int, size: int) -> bytes:
    """Bytes from the beginning of a page."""
    if not 2 <= number <= meta.last_page:
        raise ValueError("there is no such page")
    data = os.pread(file, size, number * meta.page_size)
    if len(data) != size:
        raise ValueError("it reaches beyond the file")
    return data
