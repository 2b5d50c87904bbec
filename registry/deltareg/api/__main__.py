"""`python -m deltareg.api`, `deltareg-server`: run a server, alone or with workers, or check it."""

from deltareg.host.interrupts import ending_at_once


def main() -> None:
    """Run the command line of the process. `deltareg up` and `deltareg server` call this."""
    with ending_at_once():
        from deltareg.host.garbage import collect_rarely

        collect_rarely()  # before what is dear
        from deltareg.host.process import need

        need("server")
        from deltareg.api.serve import server as run  # not before that

    run()


if __name__ == "__main__":
    main()
