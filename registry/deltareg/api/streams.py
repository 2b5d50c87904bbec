"""The stream of events; one query looks for news on behalf of all readers of a process."""

from collections.abc import Callable
from dataclasses import dataclass

from deltareg.db.events.outbox import head
from deltareg.db.session import glance
from deltareg.service.registry import Registry
from deltareg.service.telling.cloud_events import read_id
from deltareg.streaming import SharedLook
from deltareg.wire import EventPage


@dataclass(frozen=True, slots=True)
class EventStream:
    """The stream of events for one reader.

    Attributes:
        newest: The number of the newest event, as of the last look.
        pages: Returns the events after an id, with the reader's rights at that moment.
    """

    newest: SharedLook[int]
    pages: Callable[[str], EventPage]

    def write_part(self, part: EventPage) -> str:
        """Format events, each with its id."""
        return "".join(f"id: {each.id}\ndata: {each.model_dump_json()}\n\n" for each in part.items)

    def place(self, part: EventPage) -> str:
        """Return the id to go on from."""
        return part.next

    def is_more(self, part: EventPage) -> bool:
        """Whether more events are waiting already."""
        return part.is_more

    def is_last(self, _: EventPage) -> bool:
        """Return False: events never end."""
        return False

    def empty_after(self, part: EventPage) -> EventPage:
        """Return an empty page after this one."""
        return EventPage(items=[], next=part.next, is_more=False)

    def look(self, part: EventPage) -> EventPage:
        """Return the events after a page."""
        return self.pages(part.next)

    async def has_news(self, part: EventPage) -> bool:
        """Whether there are events after a page."""
        return await self.newest.take() > read_id(part.next)[0]


def newest_event(registry: Registry) -> SharedLook[int]:
    """Return a shared look at the newest event, for all readers of a process."""
    return SharedLook(lambda: _last_number(registry), 0)


def _last_number(registry: Registry) -> int:
    with glance(registry.engine) as conn:
        newest = head(conn)
    return 0 if newest is None else newest.number
