"""URLs that somebody else wrote, split into their parts without surprises."""

from urllib.parse import SplitResult, urlsplit

_NOTHING = SplitResult("", "", "", "", "")


def split_url(url: str) -> SplitResult:
    """Split a URL; of one that is malformed, such as `http://[`, all parts are empty.

    So it is refused by whoever looks for its scheme or its host, in that one's own words. `port` raises
    `ValueError` where it is no number, as the standard library's does.
    """
    try:
        return urlsplit(url)
    except ValueError:
        return _NOTHING
