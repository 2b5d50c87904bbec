"""How to reach an S3 endpoint: values that settings fill in, free of any S3 library."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from deltareg.errors import StoreMisconfigured
from deltareg.host.urls import split_url
from deltareg.store.schemes import StoreSetting

Addressing = Literal["path", "auto"]
ChecksumMode = Literal["when_required", "when_supported"]


@dataclass(frozen=True, slots=True)
class S3Options:
    """The endpoint, who we are there, and how patient to be.

    Attributes:
        endpoint_url: Where the store answers; None for AWS itself.
        region: The region to sign for.
        access_key_id: Who signs; None takes the machine's own role or the AWS environment.
        secret_access_key: The secret of that key; never shown.
        addressing: The bucket in the path, or as the library chooses. None decides by the
            endpoint: automatic on AWS, in the path elsewhere, which needs no wildcard name.
        checksums: When the library sends and asks for checksums of its own. None decides by the
            endpoint: when supported on AWS, when required elsewhere, since many endpoints that
            speak S3 answer them wrongly.
        max_attempts: Tries of one request, the first included.
        connect_timeout_s: Seconds to wait for a connection.
        read_timeout_s: Seconds to wait for the next bytes of an answer.
    """

    endpoint_url: Annotated[str | None, StoreSetting("S3 endpoint; AWS when unset.")] = None
    region: Annotated[str, StoreSetting("S3 region.")] = "us-east-1"
    access_key_id: Annotated[str | None, StoreSetting("S3 access key id.")] = None
    secret_access_key: Annotated[str | None, StoreSetting("S3 secret key.")] = field(default=None, repr=False)
    addressing: Addressing | None = None
    checksums: ChecksumMode | None = None
    max_attempts: int = 3
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse half a credential.

        Raises:
            StoreMisconfigured: Only one of key id and secret is given.
        """
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise StoreMisconfigured(
                "an S3 access key needs both its id and its secret",
                fix="set both, or neither to use the machine's own role",
            )

    @property
    def is_aws(self) -> bool:
        """Whether the endpoint is AWS's own."""
        host = split_url(self.endpoint_url or "").hostname or ""
        return self.endpoint_url is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    @property
    def addressing_style(self) -> Addressing:
        """The addressing, decided."""
        return self.addressing or ("auto" if self.is_aws else "path")

    @property
    def checksum_mode(self) -> ChecksumMode:
        """The checksum setting, decided."""
        return self.checksums or ("when_supported" if self.is_aws else "when_required")
