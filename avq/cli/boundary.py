"""The one place where exceptions become a line on the screen and an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from avq.errors import AvqError, Stopped, printable

INTERRUPTED = 130
_DENIED = "permission denied; name another folder with --output, or fix its permissions"
_DISK = {
    errno.ENOSPC: "the disk is full; free some space, or name another folder with --output",
    errno.EDQUOT: "the disk quota is used up; free some space, or name another folder with --output",
    errno.EROFS: "the file system is read-only; name another folder with --output",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
}


@contextmanager
def reporting_errors(ctx: click.Context, debug: bool) -> Iterator[None]:
    """Turn what goes wrong inside a command into one line on stderr and the exit code of the command.

    Click's own exceptions (wrong use, exit code 2) and a reader that closed the pipe pass through to click.
    """
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise
        line, code = _line_and_code(error, debug)
        if debug:
            traceback.print_exc(file=sys.stderr)
        click.echo(line, err=True)
        ctx.exit(code)


def _line_and_code(error: BaseException, debug: bool) -> tuple[str, int]:
    text = printable(" ".join(str(error).split())) or "no message"
    if isinstance(error, KeyboardInterrupt):
        return "Stopped. What is finished is saved: give the same command again to resume.", INTERRUPTED
    if isinstance(error, AvqError):
        interrupted = isinstance(error.__context__, KeyboardInterrupt)  # the executor has said what is saved
        line = text[:1].upper() + text[1:] if interrupted or isinstance(error, Stopped) else f"Error: {text}"
        return line, INTERRUPTED if interrupted else error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"Error: {where}{_DISK.get(error.errno or 0) or error.strerror or text}", 1
    hint = "" if debug else " (avq-bench --debug COMMAND shows the traceback)"
    return f"Error: {type(error).__name__}: {text}{hint}", 1
