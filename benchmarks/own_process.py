"""A call in a process of its own, so that what it sets for its process (threads, malloc) is set for no other."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_WARM_UP = 5


def made(maker: str, arguments: tuple[Any, ...]) -> Callable[[], object]:
    """The call that "module:function" gives for these arguments."""
    module, _, function = maker.partition(":")
    call: Callable[[], object] = getattr(importlib.import_module(module), function)(*arguments)
    return call


class OwnProcess:
    """Calling it makes the call there, once, and returns when it is done.

    Args:
        maker: "module:function" that takes the arguments and gives the call.
        arguments: what is handed to it.
        threads: of torch, in that process.
    """

    def __init__(self, maker: str, *arguments: Any, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._there, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, maker, arguments, threads), daemon=True)
        process.start()
        self._there.recv()  # warm

    def __call__(self) -> None:
        self._there.send(None)
        self._there.recv()


def _serve(calls: Connection, maker: str, arguments: tuple[Any, ...], threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    call = made(maker, arguments)
    for _ in range(_WARM_UP):
        call()
    while True:
        calls.send(None)
        calls.recv()
        call()
