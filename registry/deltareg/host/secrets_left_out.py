"""Takes secrets out of what is written for people: log lines, records, support bundles."""

import re
from typing import Final

LEFT_OUT: Final = "[left out]"
_PATTERNS: Final = (
    re.compile(r"(?<=://)[^\s/@'\"]+(?=@)"),  # who logs in, in a URL
    re.compile(r"\bdrg_[a-z]+_[A-Za-z0-9_]{6,}"),  # our tokens
    re.compile(r"(?i)(?<=bearer )[^\s'\",]+"),
    re.compile(r"(?i)(?<=basic )[a-z0-9+/=]{8,}"),
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]*+"),  # JWT
    re.compile(
        # Whatever stands before it: to look for that as well would take quadratic time.
        r"(?i)(?:password|passwd|passfile|secret|token|signature|credential|api_?key|access_?key|sig)"
        r"(?:=|:\s?|\"\s?:\s?\")(?P<value>[^\s&'\",;)]+)"
    ),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)


def leave_out_secrets(text: str) -> str:
    """Replace what looks like a secret: logins in URLs, tokens, keys, signatures of signed URLs."""
    for pattern in _PATTERNS:
        text = pattern.sub(_replace, text)
    return text


def _replace(found: re.Match[str]) -> str:
    if "value" not in found.groupdict():
        return LEFT_OUT
    whole, start = found[0], found.start()
    return whole[: found.start("value") - start] + LEFT_OUT + whole[found.end("value") - start :]
