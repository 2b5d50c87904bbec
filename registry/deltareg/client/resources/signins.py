"""Sign-ins: who is who at the providers, and how a command line signs in with them."""

import time
from collections.abc import Callable

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import Misconfigured, NotFound, WaitTimeout
from deltareg.host.token_files import is_confidential
from deltareg.wire import Page
from deltareg.wire.sign_in import (
    DeviceAnswer,
    DeviceFetch,
    DeviceRequest,
    DeviceRequested,
    IdentityInfo,
    IdentityLink,
    SignInProvider,
    SignInProviders,
)


class Signins(Resource):
    """Who signs in to a registry with a provider."""

    __slots__ = ()

    def providers(self) -> list[SignInProvider]:
        """List the providers that people sign in with; none where they come with tokens."""
        try:
            return self._context.api.get("/sign-in", SignInProviders).providers
        except NotFound:  # a server of before
            return []

    def ask_to_sign_in(self, machine: str) -> DeviceRequested:
        """Ask to be signed in; somebody types the code at `/ui/device` within the time that it says.

        Raises:
            Misconfigured: The token would go over plain http.
        """
        config = self._context.config
        if not (config.insecure_http or is_confidential(config.server)):
            raise Misconfigured(
                f"plain http would show the token to everybody between here and {config.server}",
                fix="use https://…; where the network is yours alone: DELTAREG_INSECURE_HTTP=1",
            )
        return self._context.api.post("/sign-in/devices", DeviceRequest(machine=machine), DeviceRequested)

    def wait_for_token(
        self,
        asked: DeviceRequested,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> str:
        """Wait until somebody has signed in; return the token, which is given once.

        Raises:
            WaitTimeout: Nobody has, within the time.
        """
        until = clock() + asked.expires_in_s
        while clock() < until:
            sleep(asked.interval_s)
            answer = self._context.api.post("/sign-in/devices:fetch", DeviceFetch(secret=asked.secret), DeviceAnswer)
            if not answer.is_waiting:
                return answer.token
        raise WaitTimeout("nobody has signed in for this machine", fix="run deltareg auth login again")

    def end_sign_in(self) -> bool:
        """End the sign-in that the client's token is of; return False if it is of none."""
        try:
            self._context.api.send("POST", "/sign-in:end")
        except NotFound:
            return False
        return True

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[IdentityInfo]:
        """List who has signed in with a provider, newest first."""
        return self._list("/identities", Page[IdentityInfo], cursor=cursor, limit=limit)

    def link(self, identity_id: int, principal: str) -> IdentityInfo:
        """Let an identity be another person from now on; where it is signed in, it has to sign in again."""
        return self._context.api.post(
            f"/identities/{identity_id}:link", IdentityLink(principal=principal), IdentityInfo
        )
