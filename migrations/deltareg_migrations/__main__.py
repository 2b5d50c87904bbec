"""`python -m deltareg_migrations`, `deltareg-migrate`: make or change the registry's schema."""

from deltareg.host.interrupts import ending_at_once


def main() -> None:
    """Run the process's command line. `deltareg server migrate` calls this."""
    with ending_at_once():
        from deltareg.host.process import need

        need("server")
        from deltareg_migrations.command_line import main as run  # not before that

    run()


if __name__ == "__main__":
    main()
