"""Where a server on this machine has its files."""

from pathlib import Path

import click

from deltareg_cli.options.options import option

data_dir_option = option(
    "--data-dir", metavar="DIR", type=click.Path(path_type=Path), help="The folder of deltareg up, unless settings say."
)
