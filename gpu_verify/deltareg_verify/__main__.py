"""`python -m deltareg_verify`, `deltareg-worker`: run a verification worker."""

from deltareg.host.interrupts import ending_at_once


def main() -> None:
    """Run the process's command line, as `deltareg worker run` and `deltareg up` do."""
    with ending_at_once():
        from deltareg.host.process import need

        need("verify")
        from deltareg_verify.entry import main as run  # not before that

    run()


if __name__ == "__main__":
    main()
