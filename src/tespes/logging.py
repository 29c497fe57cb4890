"""TESPES's own log lines: one for each happening, a constant sentence and fields, on standard error."""

import logging
import sys
from typing import Any

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(style: str, level: str) -> None:
    """Set it up, once, at start.

    :param style: `console` for people, `json` for a collector: one JSON object a line
    :param level: the least level that is shown: `debug`, `info`, `warning` or `error`
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        processors = [*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(orjson.dumps)]
        factory: Any = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        # Where rich is installed, structlog's own choice shows the values of all variables: slow, and tokens are among them.
        plain = structlog.dev.plain_traceback
        processors = [*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), stream=sys.stderr)
    for chatty in ("aiormq", "aio_pika", "aioftp"):  # what they tell of a lost connection, our own line says once
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    """Bytes that are no HTTP are the client's affair: it gets a 400, and cannot fill the log with tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
