"""A store that errs, is slow, cuts what it sends, loses its answers, or lies."""

from tests.faults.storms.links import StoreLink

_WAYS = (("busy", "error", "cut", "lost"), ("late",), ("lie",), ("full",), ("busy", "lie", "late", "cut"))


def strike(site, chance):
    """Let a share of all answers of the store to one server, or to both, be wrong."""
    stores = [link for link in site.links.values() if isinstance(link, StoreLink)]
    struck = chance.choice((stores, stores[:1], stores[1:]))
    faults, share = chance.choice(_WAYS), chance.choice((0.2, 0.5, 0.9))
    for link in struck:
        link.faults, link.share = faults, share
    site.ended.wait(chance.uniform(8, 25))
    for link in struck:
        link.faults, link.share = (), 0.0
    return f"{'/'.join(faults)} in {share:.0%} for {len(struck)} of {len(stores)}"
