"""Webhooks, and the collector of traces: whether each can be found, and is trusted. Nothing is sent."""

from collections.abc import Iterator
from functools import partial

from tespes import settings as configuration
from tespes.doctor import web
from tespes.doctor.finding import Check
from tespes.doctor.given import Given


def checks(given: Given) -> Iterator[Check]:
    """One for each."""
    for webhook in configuration.webhooks(given.settings):
        about = f"webhook {webhook.name}"
        yield Check(about, partial(web.look, about, webhook.url, webhook.ca_file))
    traces = given.settings.traces
    if traces.endpoint is not None:
        yield Check("traces", partial(web.look, "traces", traces.endpoint.get_secret_value(), traces.ca))
