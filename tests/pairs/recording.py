"""Recording a request of the real client in place of sending it."""

from contextlib import contextmanager

import httpx


@contextmanager
def recording(*, until):
    """Let the real client send its requests, but hold the first that changes something and ends with `until`."""
    sent = httpx.HTTPTransport.handle_request
    held = []

    def handle(transport, request):
        if request.method not in {"GET", "HEAD"} and request.url.path.endswith(until):
            request.read()
            held.append(request)
            raise Held
        return sent(transport, request)

    httpx.HTTPTransport.handle_request = handle
    try:
        yield held
    except Held:
        pass
    finally:
        httpx.HTTPTransport.handle_request = sent


class Held(BaseException):
    """A request was recorded in place of being sent."""
