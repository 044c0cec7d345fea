"""The errors a user may see: one clear line each, with the exit code of the command that meets it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from avq.aliases import SETTINGS

_SHOWN = 5  # names of an error line


class AvqError(Exception):
    """A job failed for a reason that fits one line."""

    exit_code = 1


class UsageError(AvqError):
    """The user asked for something that does not exist or does not fit."""

    exit_code = 2


class NotComparable(AvqError):
    """Two results were obtained under different protocols and must not be compared."""

    exit_code = 3


class Stopped(AvqError):
    """The time given to a job is over; what it did is stored, and the same command resumes."""

    exit_code = 4


def reason_of(error: BaseException) -> str:
    """What another library's exception says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: str) -> str:
    """Others' text, such as a file's name, without what a terminal would obey: control characters become escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def unknown(kind: str, name: str, options: Iterable[str], hint: str = "") -> UsageError:
    """The error for a name that is not among `options`, with the nearest one suggested.

    Args:
        kind: what the name was meant to name, such as "variant".
        name: what the user wrote.
        options: the names there are.
        hint: what to do instead; by default the nearest five names are listed.
    """
    known = sorted(options)
    if not name:
        return UsageError(f"no {kind} is named. {hint}".rstrip())
    if SETTINGS.get(name) in known:
        return UsageError(f"unknown {kind} '{name}': it is called '{SETTINGS[name]}' now.")
    near = difflib.get_close_matches(name, known, n=len(known) or 1, cutoff=0.5)
    # Of names as near as one another, the first: `aren-l` is meant for aren-1 rather than aren-3.
    best = max(sorted(near), key=lambda option: difflib.SequenceMatcher(None, option, name).ratio(), default=None)
    meant = f"; did you mean '{best}'?" if best else "."
    if not hint:
        nearest = difflib.get_close_matches(name, known, n=_SHOWN, cutoff=0)
        more = len(known) - len(nearest)
        hint = f"Known: {', '.join(sorted(nearest))}" + (f" and {more} more" if more else "")
    return UsageError(f"unknown {kind} '{name}'{meant} {hint}")
