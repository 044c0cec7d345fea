"""The group: help without heavy imports, every command there, errors as one line with the right exit code."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys

import click
import pytest

from avq import __version__
from avq.cli.main import COMMANDS, cli
from avq.errors import AvqError, NotComparable, UsageError

HEAVY = ("torch", "pandas", "numpy", "scipy", "matplotlib", "PIL", "pyarrow")
QUICK = [["--help"], ["--version"]] + [
    ["list", *kind] for kind in ([], ["variants"], ["ablations"], ["datasets"], ["presets"], ["metrics"], ["settings"])
]
LOOK = """
import contextlib, io, json, sys
from avq.cli.main import cli
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        cli(json.loads(sys.argv[1]), prog_name="avq-bench")
    except SystemExit as stop:
        code = stop.code
print(json.dumps({"code": code, "modules": sorted(m for m in sys.modules if "." not in m), "out": out.getvalue()}))
"""


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_quick_commands_import_nothing_heavy(words):
    done = subprocess.run([sys.executable, "-c", LOOK, json.dumps(words)], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["code"] == 0
    assert seen["out"].strip()
    assert not set(HEAVY) & set(seen["modules"])


def test_importing_the_package_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, avq; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not set(HEAVY) & set(done.stdout.split())


def test_version(call):
    assert call("--version").output == f"avq-bench, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(call, name):
    assert re.search(rf"^ +avq-bench {name}", call(name, "--help").output, re.MULTILINE), "an example in --help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_unknown_command_suggests_the_nearest(call):
    call("rnu", code=2, says="did you mean 'run'?")


def test_unknown_option_is_wrong_use(call):
    call("run", "ablation_levels", "--prest", "smoke", code=2, says="--preset")


@pytest.fixture
def failing(monkeypatch):
    """Make the command ``doctor`` raise the error given."""

    def install(error):
        def fail(**_):
            raise error

        monkeypatch.setattr(cli.get_command(click.Context(cli), "doctor"), "callback", fail)

    return install


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (AvqError("the job\nfailed"), 1, "Error: the job failed"),
        (UsageError("no such thing"), 2, "Error: no such thing"),
        (NotComparable("two protocols"), 3, "Error: two protocols"),
        (OSError(errno.ENOSPC, "No space left", "/store/x"), 1, "Error: /store/x: the disk is full; free some space"),
        (OSError(errno.EROFS, "Read-only", "/store/x"), 1, "Error: /store/x: the file system is read-only"),
        (PermissionError(errno.EACCES, "Denied", "/store/x"), 1, "Error: /store/x: permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.csv"), 1, "Error: x.csv: No such file"),
        (ValueError("odd"), 1, "Error: ValueError: odd (avq-bench --debug COMMAND shows the traceback)"),
        (KeyboardInterrupt(), 130, "Stopped. What is finished is saved: give the same command again to resume."),
    ],
)
def test_errors_are_one_line_and_an_exit_code(call, failing, error, code, line):
    failing(error)
    done = call("doctor", code=code)
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_debug_shows_the_traceback(call, failing):
    failing(ValueError("odd"))
    done = call("--debug", "doctor", code=1)
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("Error: ValueError: odd\n")


def test_a_reader_that_leaves_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m avq list settings --format json | head -c 1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""
