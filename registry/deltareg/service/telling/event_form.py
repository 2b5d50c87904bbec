"""A form of events: what is sent to a webhook, and how that is called on the wire."""

from collections.abc import Callable
from dataclasses import dataclass

from deltareg.errors import Misconfigured
from deltareg.wire import Event


@dataclass(frozen=True, slots=True)
class EventForm:
    """What one kind of receiver takes.

    Attributes:
        name: As people write it: lower case, digits and dashes, at most 40.
        media_type: What stands in the header `Content-Type`.
        about: For whom it is, for the docs.
        write: Writes the body. What people wrote must stay text in it: nobody is called by it, and no
            address is hidden behind words. The same event gives the same bytes, which are signed.
    """

    name: str
    media_type: str
    about: str
    write: Callable[[Event], bytes]

    def write_body(self, event: Event) -> bytes:
        """Write the body of a message.

        Raises:
            Misconfigured: The form, which may be of another distribution, failed.
        """
        try:
            return self.write(event)
        except Exception as error:
            raise Misconfigured(
                f"the form {self.name} cannot write {event.type}: {type(error).__name__}",
                fix="fix it, or uninstall the package that brings it",
            ) from error
