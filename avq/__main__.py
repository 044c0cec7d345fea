"""``python -m avq``: the same as ``avq-bench``."""

from avq.cli.main import cli

cli(prog_name="avq-bench")
