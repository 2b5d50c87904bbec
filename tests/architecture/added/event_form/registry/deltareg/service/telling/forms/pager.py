"""The form for pagers: the subject alone."""

from deltareg.service.telling.event_form import EventForm
from deltareg.wire import Event


def write_page(event: Event) -> bytes:
    """Write what an event is about."""
    return event.subject.encode()


FORM = EventForm("pager", "text/plain; charset=utf-8", "For pagers.", write_page)
