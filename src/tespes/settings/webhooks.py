"""The settings of webhooks: who gets events by HTTP; and the same as `Webhook`s of the flow."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, SecretStr, model_validator

from tespes import errors
from tespes.events import codec
from tespes.flow import webhooks as flow
from tespes.settings.values import Seconds, SecondsOrNever, Secret, Section, listed
from tespes.storage.http.address import address

_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)  # what Standard Webhooks allows


def _url(value: SecretStr) -> SecretStr:
    try:
        address(value.get_secret_value()).host.encode("idna")  # what a name server is asked for
    except (errors.TransferRefused, UnicodeError) as error:
        raise ValueError("an http or https address is expected") from error
    return value


def _secret(value: SecretStr) -> SecretStr:
    try:
        _key(value)
    except ValueError as error:
        said = f"{_PREFIX} and 24 to 64 bytes in base64 are expected: make one by `echo {_PREFIX}$(openssl rand -base64 32)`"
        raise ValueError(said) from error
    return value


def _key(secret: SecretStr) -> bytes:
    """:raises ValueError: it is no secret of Standard Webhooks"""
    prefix, mark, encoded = secret.get_secret_value().partition(_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if prefix or not mark or len(key) not in _KEY_BYTES:
        raise ValueError("no prefix, or not that long")
    return key


def _known(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in codec.VERSIONS]
    if unknown or not value:
        raise ValueError(f"{unknown[0] if value else 'nothing'} is no event; there are: {', '.join(sorted(codec.VERSIONS))}")
    return value


Url = Annotated[Secret, AfterValidator(_url)]
SigningSecret = Annotated[Secret, AfterValidator(_secret)]
Types = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_known)]


class Webhook(Section):
    """A webhook. `types`: all events of tasks if there are none; `ca`: for a URL that begins with https://.

    The rest: see `Webhook` of the flow.
    """

    url: Url
    secret: SigningSecret
    types: Types = tuple(sorted(flow.TASK_EVENTS))
    owner: Annotated[str, Field(min_length=1)] | None = None
    begin: Literal["now", "beginning"] = "now"
    timeout_s: Annotated[Seconds, Field(le=300)] = 15.0
    give_up_after_s: SecondsOrNever = 86_400.0
    ca: FilePath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ca is not None and not self.url.get_secret_value().lower().startswith("https:"):
            raise ValueError("ca is for a url that begins with https://")
        return self


def webhooks(given: Mapping[str, Webhook]) -> tuple[flow.Webhook, ...]:
    """The webhooks of these settings."""
    return tuple(_webhook(name, each) for name, each in given.items())


def _webhook(name: str, given: Webhook) -> flow.Webhook:
    return flow.Webhook(
        name=name,
        url=given.url.get_secret_value(),
        key=_key(given.secret),
        types=frozenset(given.types),
        owner=given.owner,
        begin=given.begin,
        timeout_s=given.timeout_s,
        give_up_after_s=given.give_up_after_s,
        ca_file=str(given.ca) if given.ca else None,
    )
