"""``avq-bench data``: the commands that deal with images before any run."""

from __future__ import annotations

import click

from avq.cli.commands.data_check import check
from avq.cli.commands.data_fetch import fetch
from avq.cli.commands.data_prepare import prepare
from avq.cli.commands.data_sheet import sheet


@click.group()
def command() -> None:
    """Fetch, prepare, check and look at datasets.

    A dataset of photographs is prepared once, from whatever form it comes in, and memory-mapped by every run after.

    \b
    Examples:
      avq-bench data prepare celebahq --source ~/Downloads/CelebAMask-HQ.zip --size 256
      avq-bench data check
      avq-bench data fetch lsun-church
      avq-bench data sheet celebahq -o faces.png
    """


for _command in (fetch, prepare, check, sheet):
    command.add_command(_command)
