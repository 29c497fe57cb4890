"""TESPES's own log lines: one for each happening, a constant sentence and fields, on standard error.

What libraries say, Python's warnings, and an error that ends the program come in the same form. As JSON, a traceback is a
text in its line; no line, in either form, shows the values of variables: tokens are among them.

Whether anybody reads them or not: where nothing can be written, as on a disk that is full, a line is lost and the work goes on.

Who waits for something tries again and again. A warning of TESPES that is the same as one of the last minute is left out; the
next one says in `left_out` how many were.
"""

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import orjson
import structlog
from aiohttp import ClientConnectionResetError
from aiohttp.http_exceptions import HttpProcessingError

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SAID_S = 60.0
_SAID = 1000  # warnings that are remembered


def configure(style: str, level: str) -> None:
    """Set it up, once, at start.

    :param style: `console` for people, `json` for a collector: one JSON object a line
    :param level: the least level that is shown: `debug`, `info`, `warning` or `error`; of libraries, warnings at least
    """
    made: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    stream: Any = _Lossy(sys.stderr.buffer if style == "json" else sys.stderr)  # of files, structlog asks for no more
    if style == "json":
        shown: list[Any] = [structlog.processors.format_exc_info, _line]
        factory: Any = structlog.BytesLoggerFactory(stream)
    else:
        # Where rich is installed, structlog's own choice shows the values of all variables: slow, and tokens are among them.
        plain = structlog.dev.plain_traceback
        shown = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
        factory = structlog.PrintLoggerFactory(stream)
    structlog.configure(
        processors=[_Repeats(), *made, *shown],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    form = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *made],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown, _text],
    )
    _take_in_libraries(form, max(_LEVELS[level], logging.WARNING))
    sys.excepthook, threading.excepthook, sys.unraisablehook = _tell_of_the_end, _tell_of_a_thread, _tell_of_the_rest


class _Lossy:
    """A stream that drops what cannot be written: each append to the log of events is told, and must not fail for that."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, said: Any) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(said)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Repeats:
    """Leaves out what was said a moment ago. What is no warning is always said: it happens once, or somebody should come."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}

    def __call__(self, _: Any, method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        if method != "warning":
            return line
        key, now = repr(line), time.monotonic()
        at, left_out = self._said.get(key, (-_SAID_S, 0))
        if now - at < _SAID_S:
            self._said[key] = at, left_out + 1
            raise structlog.DropEvent
        if len(self._said) >= _SAID:
            self._said.clear()
        self._said[key] = now, 0
        return {**line, "left_out": left_out} if left_out else line


def _take_in_libraries(form: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(capture=True)
    for chatty in ("aiormq", "aio_pika", "aioftp"):  # what they tell of a lost connection, our own line says once
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    """A client that sends what is no HTTP, or goes before it has its answer, cannot fill the log with tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ClientConnectionResetError))


def _line(_: Any, __: str, said: Any) -> bytes:
    """As JSON, time first. Half a character, as names of files may have, or a huge number must not fail who tells of it."""
    line = {"timestamp": said.pop("timestamp"), "level": said.pop("level"), "event": said.pop("event"), **said}
    try:
        return orjson.dumps(line, default=str)
    except TypeError:
        return json.dumps(line, default=str).encode()


def _text(_: Any, __: str, line: Any) -> str:
    return line.decode() if isinstance(line, bytes) else str(line)


def _tell_of_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger(__name__).critical("an error ended TESPES", exc_info=(kind, error, trace))


def _tell_of_a_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is not SystemExit:
        error = (what.exc_type, what.exc_value, what.exc_traceback)
        structlog.get_logger(__name__).error("an error ended a thread", thread=what.thread and what.thread.name, exc_info=error)


def _tell_of_the_rest(what: Any) -> None:
    """What went wrong where nothing can be raised, as when something is thrown away."""
    where, error = getattr(what.object, "__qualname__", None), (what.exc_type, what.exc_value, what.exc_traceback)
    structlog.get_logger(__name__).error("an error was ignored", where=where, exc_info=error)
