"""A call in a process of its own, so that what it sets for its process (threads, malloc) is set for no other."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

_WARM_UP = 5


def made(maker: str, arguments: tuple[Any, ...]) -> Callable[[], object]:
    """The call that "module:function" gives for these arguments."""
    module, _, function = maker.partition(":")
    call: Callable[[], object] = getattr(importlib.import_module(module), function)(*arguments)
    return call


class OwnProcess:
    """Calling it makes the call there, once, and returns when it is done; the process ends with the `with` block.

    Args:
        maker: "module:function" that takes the arguments and gives the call.
        arguments: what is handed to it.
        threads: of torch, in that process.

    Raises:
        RuntimeError: the process ended; what it said stands on stderr.
    """

    def __init__(self, maker: str, *arguments: Any, threads: int) -> None:
        self._maker = maker
        context = multiprocessing.get_context("spawn")
        self._there, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, maker, arguments, threads), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of what it says
        self._wait()  # until it is warm

    def __call__(self) -> None:
        try:
            self._there.send(None)
        except OSError:
            raise self._ended() from None
        self._wait()

    def _wait(self) -> None:
        try:
            self._there.recv()
        except (EOFError, OSError):
            raise self._ended() from None

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the process of {self._maker} ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._there.close()
        self._process.join()


def _serve(calls: Connection, maker: str, arguments: tuple[Any, ...], threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    call = made(maker, arguments)
    for _ in range(_WARM_UP):
        call()
    calls.send(None)
    while True:
        try:
            calls.recv()
        except EOFError:
            return
        call()
        calls.send(None)
