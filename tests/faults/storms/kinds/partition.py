"""A network that parts two who speak: refused, silent or slow."""

from tests.faults.storms.links import MODES


def strike(site, chance):
    """Break one line for a while, or two at once."""
    names = chance.sample(sorted(site.links), chance.choice((1, 1, 2)))
    modes = [chance.choice(MODES) for _ in names]
    for name, mode in zip(names, modes, strict=True):
        site.links[name].mode = mode
    site.ended.wait(chance.uniform(4, 20))
    for name in names:
        site.links[name].mode = ""
        site.links[name].cut()
    return ", ".join(f"{name} {mode}" for name, mode in zip(names, modes, strict=True))
