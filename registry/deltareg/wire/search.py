"""Search results on the wire."""

from deltareg.wire.messages import Answer
from deltareg.wire.versions import VersionInfo


class MetricInfo(Answer):
    """A number of a version: `source` is the suite whose newest verdict has it, or `card`."""

    name: str
    value: float
    source: str


class SearchHit(VersionInfo):
    """A version that was found, what its card says of it, and the metrics that were asked for."""

    title: str = ""
    summary: str = ""
    metrics: list[MetricInfo] = []
