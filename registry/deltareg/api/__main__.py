"""`python -m deltareg.api`: run the server, or server and workers on one machine, or check it."""

import click

from deltareg.api.serve import check, run, up


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run the Delta Registry server. `deltareg up` and `deltareg server` call this."""


main.add_command(run)
main.add_command(up)
main.add_command(check)

if __name__ == "__main__":
    main()
