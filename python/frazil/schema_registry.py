"""Where messages' schemas are kept: a registry that speaks Confluent's API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from frazil.duration import Duration, duration_ms
from frazil.errors import PlanError
from frazil.secret import Secret, require_secret

if TYPE_CHECKING:
    from frazil.node import Json


@dataclass(frozen=True)
class SchemaRegistry:
    """A schema registry: Confluent's, or another with its API (Apicurio, Karapace, Redpanda).

    Parameters
    ----------
    url
        Where it is: "http://localhost:8081", with a path if it has one.
    username, password
        Name and password (of Confluent Cloud: key and secret), the latter by reference.
    token
        A bearer token, by reference, instead of these.
    ca
        File with the authorities to trust; default the system's.
    certificate, key
        Files of the client's own certificate and its private key, if the registry asks for one.
    timeout
        How long one question may take.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.SchemaRegistry(
    ...     "https://registry.example", username="frazil", password=fz.secret("REGISTRY_PASSWORD")
    ... ).url
    'https://registry.example'
    """

    url: str
    username: str | Secret | None = None
    password: Secret | None = None
    token: Secret | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    timeout: Duration = "10s"

    def __post_init__(self) -> None:
        """Check the options.

        Raises
        ------
        PlanError
            If they do not go together.
        """
        parts = urlsplit(self.url) if isinstance(self.url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise PlanError(
                f"no schema registry at {self.url!r}", 'write "http://host:8081", or https'
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise PlanError(
                "the URL of a schema registry has a login or a query in it",
                'write SchemaRegistry(url, username="...", password=fz.secret("NAME"))',
            )
        for option in ("password", "token"):
            if getattr(self, option) is not None:
                require_secret(getattr(self, option), f"SchemaRegistry({option}=)")
        if (self.username is None) != (self.password is None):
            raise PlanError("SchemaRegistry has one of username and password", "give both or none")
        if self.token is not None and self.username is not None:
            raise PlanError("SchemaRegistry has a token and a username", "give one of the two")
        if (self.certificate is None) != (self.key is None):
            raise PlanError("SchemaRegistry has one of certificate and key", "give both or none")
        duration_ms(self.timeout, "timeout")

    @property
    def name(self) -> str:
        """What it is called in plans and errors."""
        return self.url.rstrip("/")

    def to_json(self) -> Json:
        """As it stands in a plan."""
        username = self.username
        options = {
            "url": self.name,
            "username": username.to_json() if isinstance(username, Secret) else username,
            "password": self.password and self.password.to_json(),
            "token": self.token and self.token.to_json(),
            "ca": self.ca,
            "certificate": self.certificate,
            "key": self.key,
            "timeout_ms": duration_ms(self.timeout, "timeout"),
        }
        return {option: value for option, value in options.items() if value is not None}
