"""The form for programs: the event itself."""

from deltareg.service.telling.event_form import EventForm
from deltareg.wire import Event


def write_cloud_event(event: Event) -> bytes:
    """Write an event in the structured mode of the HTTP binding of CloudEvents, section 3.2."""
    return event.model_dump_json().encode()


FORM = EventForm(
    "cloudevents", "application/cloudevents+json; charset=utf-8", "For programs: CloudEvents 1.0.", write_cloud_event
)
