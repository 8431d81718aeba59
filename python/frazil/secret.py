"""Secrets by reference: a plan names the environment variable, only a running pipeline reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frazil.errors import ConfigError, PlanError

_KEY = "$secret"
_SECRET_WORDS = ("password", "secret", "token", "credential", "passphrase", "private-key", "jaas")


@dataclass(frozen=True)
class Secret:
    """A value that is read from the environment when the pipeline runs. Made by `secret`."""

    variable: str

    def __repr__(self) -> str:
        return f"secret({self.variable!r})"

    def to_json(self) -> dict[str, str]:
        """The reference that stands in a plan."""
        return {_KEY: self.variable}


def secret(variable: str) -> Secret:
    """Refer to a secret in an environment variable.

    Parameters
    ----------
    variable
        Name of the environment variable. It is read when the pipeline runs, never before, and its
        value is in no plan, manifest, log or error.

    Returns
    -------
    Secret
        To be given where an option takes a secret.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.secret("KAFKA_PASSWORD")
    secret('KAFKA_PASSWORD')
    """
    if not variable or "=" in variable or "\0" in variable:
        raise PlanError(
            f"{variable!r} is not the name of an environment variable",
            'write fz.secret("KAFKA_PASSWORD") and set KAFKA_PASSWORD',
        )
    return Secret(variable)


def resolve_secrets(value: Any) -> Any:
    """Copy a plan's JSON with every reference replaced by its value, just before the engine.

    Raises
    ------
    ConfigError
        If a variable is not set; it names the variable.
    """
    if isinstance(value, dict):
        if value.keys() == {_KEY}:
            variable = value[_KEY]
            if variable not in os.environ:
                raise ConfigError(
                    f"the environment variable {variable} is not set",
                    f'fz.secret("{variable}") reads it when the pipeline starts',
                )
            return os.environ[variable]
        return {key: resolve_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_secrets(item) for item in value]
    return value


def require_secret(value: object, option: str) -> Secret:
    """Check that an option got a reference and not the secret itself.

    Raises
    ------
    PlanError
        Without the value, which may be a real secret.
    """
    if not isinstance(value, Secret):
        raise PlanError(
            f"{option} got a {type(value).__name__}, and secrets are not written into programs",
            'put it into an environment variable and write fz.secret("NAME_OF_THE_VARIABLE")',
        )
    return value


def references(properties: Mapping[str, Any], option: str) -> dict[str, Any]:
    """JSON of free-form properties, in which what looks like a secret has to be a reference.

    Raises
    ------
    PlanError
        If a value is neither text, number, truth value nor Secret, or if a secret is written out.
    """
    result: dict[str, Any] = {}
    for key, value in properties.items():
        if isinstance(value, Secret):
            result[key] = value.to_json()
        elif any(word in key.lower() for word in _SECRET_WORDS) and isinstance(value, str):
            require_secret(value, f"{option}[{key!r}]")
        elif isinstance(value, str | int | float | bool):
            result[key] = value
        else:
            raise PlanError(
                f"{option}[{key!r}] is a {type(value).__name__}",
                "values are text, numbers, truth values or fz.secret(...)",
            )
    return result
