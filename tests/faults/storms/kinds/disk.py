"""A disk without room: a server's, a prover's, the agent's or the database's."""

from contextlib import suppress

_BLOCK = bytes(1 << 16)


def strike(site, chance):
    """Fill a file system for a while."""
    name = chance.choice(sorted(site.disks))
    filler = site.disks[name] / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(_BLOCK)
    site.ended.wait(chance.uniform(5, 15))
    filler.unlink()
    return name
