"""What went wrong at a web server, in words that have no secrets in them."""

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import aiohttp

from tespes import errors

_BUSY: Final = {408, 425, 429}
_SERVER_FAULT: Final = 500
_REASON_CHARACTERS: Final = 100


def failed(shown: str, response: aiohttp.ClientResponse) -> errors.TransferError:
    """What an answer that is no success means."""
    known = {status.value: status.phrase for status in HTTPStatus}
    reason = "".join(filter(str.isprintable, response.reason or known.get(response.status, "")))[:_REASON_CHARACTERS]
    again = response.status in _BUSY or response.status >= _SERVER_FAULT
    kind = errors.TransferInterrupted if again else errors.TransferRefused
    return kind(f"{shown}: {response.status} {reason}".rstrip())


@contextlib.contextmanager
def named(shown: str, silence_s: float) -> Iterator[None]:
    """Turn the library's errors into ours. Their own texts are not used: they may have the whole URL in them."""
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise errors.TransferRefused(f"{shown}: the certificate is not trusted: {_words(error.certificate_error)}") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise errors.TransferInterrupted(f"{shown}: the host cannot be found: {_words(error.os_error)}") from error
    except aiohttp.InvalidURL as error:
        raise errors.TransferRefused(f"{shown}: the URL cannot be read") from error
    except TimeoutError as error:
        raise errors.TransferInterrupted(f"{shown}: the server was silent for {silence_s:g} s") from error
    except aiohttp.ClientResponseError as error:
        raise errors.TransferInterrupted(f"{shown}: the answer is no HTTP") from error
    except aiohttp.ClientOSError as error:
        raise errors.TransferInterrupted(f"{shown}: {_words(error)}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise errors.TransferInterrupted(f"{shown}: the connection broke") from error


def _words(error: Exception) -> str:
    words = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return str(words or "the connection broke")
