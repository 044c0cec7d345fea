"""The one place where exceptions become a line on the screen and an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from avq.errors import AvqError, Stopped

_DISK = {
    errno.ENOSPC: "the disk is full; free some space, or name another folder with --output",
    errno.EDQUOT: "the disk quota is used up; free some space, or name another folder with --output",
    errno.EROFS: "the file system is read-only; name another folder with --output",
    errno.EACCES: "permission denied; name another folder with --output, or mend its permissions",
    errno.EPERM: "permission denied; name another folder with --output, or mend its permissions",
}
INTERRUPTED = 130


@contextmanager
def reporting_errors(ctx: click.Context, debug: bool) -> Iterator[None]:
    """Turn what goes wrong inside a command into one line on stderr and the exit code of the command.

    Click's own exceptions (wrong use, exit code 2) and a reader that closed the pipe pass through to click.
    """
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except KeyboardInterrupt:
        _say(debug, "Stopped. What is finished is kept: give the same command again to go on.")
        ctx.exit(INTERRUPTED)
    except AvqError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # the executor has said what is kept
            _say(debug, _capital(_one_line(error)))
            ctx.exit(INTERRUPTED)
        said = _capital(_one_line(error)) if isinstance(error, Stopped) else f"Error: {_one_line(error)}"
        _say(debug, said)
        ctx.exit(error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        _say(debug, f"Error: {_disk_trouble(error)}")
        ctx.exit(1)
    except Exception as error:
        what = f"{type(error).__name__}: {_one_line(error)}"
        _say(debug, f"Error: {what}" + ("" if debug else " (avq-bench --debug COMMAND shows the traceback)"))
        ctx.exit(1)


def _say(debug: bool, line: str) -> None:
    if debug:
        traceback.print_exc(file=sys.stderr)
    click.echo(line, err=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no further word"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _disk_trouble(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    known = _DISK.get(error.errno or 0)
    return where + (known or f"{error.strerror or _one_line(error)}")
