"""A task: a piece of work with a fingerprint, whose measurements and files lie in a store.

All that can change what a task gives is in its fingerprint, and nothing else: its kind, its content, the code that
carries it out, and its parents. Settings enter where they depart from the value that `setting` names for them, so
that a new setting changes no fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint_of(value: Any) -> str:
    """sha256 of a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Task(ABC):
    """One task; a kind of task is a frozen dataclass that derives from it.

    Attributes:
        kind: what is done, such as "train".
        grows: its results are added to in one place, which its parents' folder has under its label alone.
        code: fingerprint of the code that carries it out.
    """

    kind: ClassVar[str]
    grows: ClassVar[bool] = False
    code: str

    @property
    @abstractmethod
    def content(self) -> dict[str, Any]:
        """All that decides the outcome but code and parents; JSON-able."""

    @property
    @abstractmethod
    def label(self) -> str:
        """How its folder's name begins; no part of the fingerprint."""

    @property
    def parents(self) -> tuple[Task, ...]:
        """Tasks whose results it starts from."""
        return ()

    @property
    def origin(self) -> Task:
        """The task that this one descends from, through first parents: itself where it has none."""
        return self.parents[0].origin if self.parents else self

    @cached_property
    def content_fingerprint(self) -> str:
        """Of kind, content and parents, whatever code carries it out."""
        parents = [parent.content_fingerprint for parent in self.parents]
        return fingerprint_of({"kind": self.kind, "content": self.content, "parents": parents})

    @cached_property
    def fingerprint(self) -> str:
        """Of all that can change the outcome: where the store has it."""
        parents = [parent.fingerprint for parent in self.parents]
        return fingerprint_of({"task": self.content_fingerprint, "code": self.code, "parents": parents})

    @property
    def name(self) -> str:
        """Name of its folder: the label and eight digits, as in `aren-1-cifar10-32px-s0-1a2b3c4d`."""
        return self.label if self.grows else f"{self.label}-{self.fingerprint[:8]}"

    def describe(self) -> dict[str, Any]:
        """The task as JSON, for its task.json; `Task.content` and what people want to read beside it."""
        return {
            "kind": self.kind,
            "content": self.content,
            "code": self.code,
            "content_fingerprint": self.content_fingerprint,
            "fingerprint": self.fingerprint,
            "parents": [parent.name for parent in self.parents],
        }

    def covered_by(self, done: Mapping[str, Any]) -> bool:
        """Whether results with that task.json serve for this task."""
        return bool(done.get("fingerprint") == self.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.fingerprint == other.fingerprint
