"""TESPES: a GA4GH Task Execution Service whose only record is an append-only log of events."""

__version__ = "0.1.0"
