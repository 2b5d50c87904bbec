"""`python -m deltareg.api`, `deltareg-server`: run the server, or a whole registry, or check it."""

from deltareg.host.garbage import collect_rarely


def main() -> None:
    """Run the process's command line. `deltareg up` and `deltareg server` call this."""
    collect_rarely()
    from deltareg.api.serve import server  # here, because its imports are most of a start

    server()


if __name__ == "__main__":
    main()
