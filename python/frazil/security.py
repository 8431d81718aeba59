"""How to reach and be let into external systems: TLS, SASL, object storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from frazil.errors import PlanError
from frazil.secret import Secret, require_secret

Json = dict[str, Any]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Encrypt the connection to Kafka.

    Parameters
    ----------
    ca
        File with the authorities to trust; default the system's.
    certificate, key
        Files of the client's own certificate and its private key, if the broker asks for one.
    key_password
        Secret that opens `key`.
    verify_hostname
        Check that the certificate is made out to the broker's name.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.Tls(ca="/etc/kafka/ca.pem").verify_hostname
    True
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: Secret | None = None
    verify_hostname: bool = True

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise PlanError("Tls has one of certificate and key", "give both or none")
        if self.key_password is not None:
            require_secret(self.key_password, "Tls(key_password=)")

    def to_json(self) -> Json:
        """As it stands in a plan."""
        return _without_none(
            {
                "ca_file": self.ca,
                "certificate_file": self.certificate,
                "key_file": self.key,
                "key_password": self.key_password and self.key_password.to_json(),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Sasl:
    """Log in to Kafka with a name and a password.

    Parameters
    ----------
    username
        The name.
    password
        The password, by reference.
    mechanism
        What the broker offers: "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512".
    tls
        How to encrypt; None sends the login over an open connection, which "PLAIN" must not.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.Sasl(username="frazil", password=fz.secret("KAFKA_PASSWORD"), tls=fz.Tls()).mechanism
    'SCRAM-SHA-512'
    """

    username: str | Secret
    password: Secret
    mechanism: Mechanism = "SCRAM-SHA-512"
    tls: Tls | None = None

    def __post_init__(self) -> None:
        require_secret(self.password, "Sasl(password=)")
        if self.mechanism not in _MECHANISMS:
            raise PlanError(
                f"Sasl(mechanism={self.mechanism!r}) is not offered", f"one of {_MECHANISMS}"
            )

    def to_json(self) -> Json:
        """As it stands in a plan."""
        username = self.username
        return _without_none(
            {
                "mechanism": self.mechanism,
                "username": username.to_json() if isinstance(username, Secret) else username,
                "password": self.password.to_json(),
            }
        )


@dataclass(frozen=True, kw_only=True)
class S3:
    """Reach an object store that speaks S3.

    Without keys, the standard chain is asked: environment, profile, instance role.

    Parameters
    ----------
    endpoint
        URL of a store that is not Amazon's ("http://127.0.0.1:7070").
    region
        Region; default from the environment.
    access_key, secret_key, session_token
        Keys, by reference.
    anonymous
        Send no signature, for public buckets.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.S3(
    ...     endpoint="http://127.0.0.1:7070",
    ...     access_key=fz.secret("S3_ACCESS_KEY"),
    ...     secret_key=fz.secret("S3_SECRET_KEY"),
    ... ).anonymous
    False
    """

    endpoint: str | None = None
    region: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        for option in ("access_key", "secret_key", "session_token"):
            if getattr(self, option) is not None:
                require_secret(getattr(self, option), f"S3({option}=)")
        if (self.access_key is None) != (self.secret_key is None):
            raise PlanError("S3 has one of access_key and secret_key", "give both or none")
        if self.anonymous and self.access_key is not None:
            raise PlanError("S3 has keys and is anonymous", "give one of the two")

    def to_json(self) -> Json:
        """As it stands in a plan."""
        return _without_none(
            {
                "endpoint": self.endpoint,
                "region": self.region,
                "access_key_id": self.access_key and self.access_key.to_json(),
                "secret_access_key": self.secret_key and self.secret_key.to_json(),
                "session_token": self.session_token and self.session_token.to_json(),
                "anonymous": self.anonymous,
            }
        )


def security_json(security: Sasl | Tls) -> Json:
    """What the plan says about a Kafka connection's security.

    Raises
    ------
    PlanError
        If it is neither.
    """
    if isinstance(security, Tls):
        return {"protocol": "ssl", **security.to_json()}
    if isinstance(security, Sasl):
        tls = security.tls
        protocol = "sasl_plaintext" if tls is None else "sasl_ssl"
        return {"protocol": protocol, **security.to_json(), **(tls.to_json() if tls else {})}
    raise PlanError(f"security={security!r} is not offered", "give fz.Sasl(...) or fz.Tls(...)")


def tls_client_options(security: Sasl | Tls | None) -> Json:
    """What has no option of ours and is told to librdkafka directly."""
    tls = security.tls if isinstance(security, Sasl) else security
    if isinstance(tls, Tls) and not tls.verify_hostname:
        return {"ssl.endpoint.identification.algorithm": "none"}
    return {}


def _without_none(options: Json) -> Json:
    return {key: value for key, value in options.items() if value is not None}
