"""The log of one invocation on stderr, as text or as JSON lines; only warnings by default."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_TALKATIVE: Final = ("boto3", "botocore", "s3transfer", "urllib3")
"""Libraries that write whole request bodies and signed headers when they may write everything."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger and event; an exception as text."""
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def start_log(*, verbose: int, form: str) -> None:
    """Send the log to stderr.

    Args:
        verbose: 0 for warnings, 1 for actions, 2 or more for everything except the content of
            bodies.
        form: `text` or `json`.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(levelname).1s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else plain)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
