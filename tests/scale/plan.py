"""How large a filled registry is, and how its parts are spread."""

from dataclasses import dataclass
from random import Random

US = 1_000_000
DAY_US = 86_400 * US


@dataclass(frozen=True)
class FillPlan:
    """The sizes of a filled registry; shares are of versions.

    Attributes:
        versions: How many there are.
        tensors: How many each of them has.
        busy: The share that is in one line.
        days: How long the history is; all of it ends an hour before it is filled in.
        failed: Judged, and failed.
        unjudged: Superseded before a worker came.
        deleted: Deleted, and collected.
        golden: With golden outputs.
        rolled_back: The share of promotions to `prod` that are rolled back.
        seed: What all that is drawn is drawn with.
    """

    versions: int
    tensors: int = 8
    busy: float = 0.22
    days: int = 365
    failed: float = 0.05
    unjudged: float = 0.12
    deleted: float = 0.05
    golden: float = 0.1
    rolled_back: float = 0.03
    seed: int = 1

    @property
    def lines(self) -> int:
        return max(2, self.versions // 50)

    @property
    def namespaces(self) -> int:
        return max(1, min(50, self.versions // 200))

    @property
    def bases(self) -> int:
        return max(1, min(40, self.versions // 500))

    @property
    def people(self) -> int:
        return max(1, min(200, self.versions // 100))

    @property
    def agents(self) -> int:
        return max(1, min(20, self.versions // 1_000))

    @property
    def garbage(self) -> int:
        """Packs that nothing needs."""
        return self.versions // 100

    @property
    def queued(self) -> int:
        """Runs that wait for a worker that never comes."""
        return min(500, self.versions // 100)

    def sizes(self) -> list[int]:
        """Return how many versions each line has: one has most, and the rest have a long tail."""
        busy = max(1, round(self.busy * self.versions))
        weights = [1 / (place + 3) ** 0.9 for place in range(self.lines - 1)]
        left = max(0, self.versions - busy - len(weights))
        tail = [1 + int(left * weight / sum(weights)) for weight in weights]
        return [self.versions - sum(tail), *tail]

    @classmethod
    def brief(cls, versions: int) -> "FillPlan":
        """Return the plan for a brief life: most versions in one line, and all of them pass."""
        return cls(versions, busy=0.8, failed=0, unjudged=0, deleted=0, golden=0, rolled_back=0)

    def draw(self) -> Random:
        return Random(self.seed)
