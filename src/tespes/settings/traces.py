"""The settings of traces: which collector is told of tasks, and how; and the same as an `Endpoint` of the flow."""

import re
from typing import Annotated, Final
from urllib.parse import unquote

from pydantic import AfterValidator, Field, FilePath, SecretStr

from tespes.flow.collector import Endpoint
from tespes.settings.values import Seconds, Secret, Section
from tespes.settings.webhooks import Url

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1 and 5.5
_VALUE: Final = re.compile(r"[\t -~]*")


def _read(headers: SecretStr) -> SecretStr:
    _headers(headers)
    return headers


def _headers(said: SecretStr) -> dict[str, str]:
    """:raises ValueError: they have another form than OTEL_EXPORTER_OTLP_HEADERS has"""
    found = {}
    for each in filter(None, (each.strip() for each in said.get_secret_value().split(","))):
        name, mark, value = (part.strip() for part in each.partition("="))
        if not mark or not _NAME.fullmatch(name) or not _VALUE.fullmatch(unquote(value)):
            raise ValueError("name=value is expected, more of them with commas, values %-encoded")
        found[name] = unquote(value)
    return found


class Traces(Section):
    """Which collector is told of tasks. Without `endpoint`: none.

    `headers`: that it wants to see, as in OTEL_EXPORTER_OTLP_HEADERS. `ca`: certificates that are trusted beside the system's.
    `to_tasks`: whether executors get the variable TRACEPARENT, so that what they run can add to the trace.
    """

    endpoint: Url | None = None
    headers: Annotated[Secret, AfterValidator(_read)] | None = None
    timeout_s: Annotated[Seconds, Field(le=300)] = 10.0
    ca: FilePath | None = None
    to_tasks: bool = False


def endpoint(given: Traces) -> Endpoint | None:
    """The collector of these settings, if there is one."""
    if given.endpoint is None:
        return None
    return Endpoint(
        url=given.endpoint.get_secret_value(),
        headers=_headers(given.headers) if given.headers else {},
        timeout_s=given.timeout_s,
        ca_file=str(given.ca) if given.ca else None,
    )
