"""The stream of events: what of it is new is asked once for all readers of a process."""

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
    """Events for one reader.

    Attributes:
        newest: The last number of an event, as it was when somebody looked.
        pages: Gives what comes after an event, with the reader's rights at that moment.
    """

    newest: SharedLook[int]
    pages: Callable[[str], EventPage]

    def write_part(self, part: EventPage) -> str:
        """Write events, each with its id."""
        return "".join(f"id: {each.id}\ndata: {each.model_dump_json()}\n\n" for each in part.items)

    def place(self, part: EventPage) -> str:
        """Give the id to go on from."""
        return part.next

    def is_more(self, part: EventPage) -> bool:
        """Whether more waits already."""
        return part.is_more

    def is_last(self, _: EventPage) -> bool:
        """Events never end."""
        return False

    def empty_after(self, part: EventPage) -> EventPage:
        """Give a page with nothing on it."""
        return EventPage(items=[], next=part.next, is_more=False)

    def look(self, part: EventPage) -> EventPage:
        """Give what comes after a page."""
        return self.pages(part.next)

    async def has_news(self, part: EventPage) -> bool:
        """Whether anything happened since."""
        return await self.newest.take() > read_id(part.next)[0]


def newest_event(registry: Registry) -> SharedLook[int]:
    """Look at the newest event for all readers of a process."""
    return SharedLook(lambda: _last_number(registry), 0)


def _last_number(registry: Registry) -> int:
    with glance(registry.engine) as conn:
        newest = head(conn)
    return 0 if newest is None else newest.number
