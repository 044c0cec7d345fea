"""Asking a model without teaching it: eval mode for as long as the question takes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType, FunctionType, ModuleType
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from torch import Tensor, nn

_Model = TypeVar("_Model", bound=nn.Module)
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within it the modules are in eval mode; after it each is in its own again."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def modules_in(thing: object) -> list[nn.Module]:
    """All torch modules that an object holds, however deep: in attributes, containers, closures, bound methods."""
    found, seen, left = [], {id(None)}, [thing]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FrameType | Tensor | np.ndarray):
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module):
            found.append(one)
        # A function refers to all names of its module, too
        left += one.__closure__ or () if isinstance(one, FunctionType) else gc.get_referents(one)
    return found


def asks(
    function: Callable[Concatenate[_Model, _Arguments], _Answer],
) -> Callable[Concatenate[_Model, _Arguments], _Answer]:
    """For a function that asks its first argument, a model: all modules in that are in eval mode meanwhile."""

    @wraps(function)
    def call(model: _Model, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        with evaluating(modules_in(model)):
            return function(model, *args, **kwargs)

    return call  # type: ignore[return-value]  # mypy takes `model` for a name of the call
