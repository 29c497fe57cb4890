"""Clients of S3 stores: one for each store and key. They know what the settings say, and nothing of this machine.

This module is imported with the first S3 URL: the library takes a third of a second and 35 MB.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, ConfigValueStore, ConstantProvider
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

from tespes import errors
from tespes.storage.promise import Manners
from tespes.storage.s3.access import Key, Place

_TRIES = 3
_MESSAGE_CHARACTERS = 500
_MAY_PASS = frozenset({408, 409, 425, 429})
_WILL_PASS = frozenset({"RequestTimeout", "SlowDown", "Throttling", "RequestLimitExceeded", "ExpiredToken", "RequestExpired"})
_CLOCKS = "RequestTimeTooSkewed"
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


class Clients:
    """The clients, kept open until `close`."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._session = _session()
        self._opening = asyncio.Lock()
        self._open = contextlib.AsyncExitStack()
        self._clients: dict[tuple[str | None, str, str, Key | None], Any] = {}

    async def signed(self, operation: str, where: Place, **more: Any) -> str:
        """A URL with which anybody may do that to the object, for as long as a signed URL is good."""
        named = {"Bucket": where.bucket, "Key": where.name, **more}
        await asyncio.sleep(0)  # half a millisecond each: whoever signs many keeps nobody waiting
        with naming(where.shown):
            client = await self._client(where)
            lifetime_s = int(self._manners.url_lifetime_s)
            return str(await client.generate_presigned_url(operation, Params=named, ExpiresIn=lifetime_s))

    async def call(self, operation: str, where: Place, *, may_miss: bool = False, **more: Any) -> dict[str, Any]:
        """What the store answers.

        :param may_miss: that there is no such object, upload or bucket is an answer as well: an empty one
        """
        named = {"Bucket": where.bucket, **more}
        if operation != "list_objects_v2":
            named.setdefault("Key", where.name)
        with naming(where.shown):
            client = await self._client(where)
            try:
                answer: dict[str, Any] = await getattr(client, operation)(**named)
            except ClientError as error:
                if may_miss and error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                    return {}
                raise
        return answer

    async def close(self) -> None:
        """Close every connection."""
        self._clients.clear()
        await self._open.aclose()

    async def _client(self, where: Place) -> Any:
        which = (where.endpoint, where.region, where.style, where.key)
        async with self._opening:
            if which not in self._clients:
                self._clients[which] = await self._open.enter_async_context(self._made(where))
        return self._clients[which]

    def _made(self, where: Place) -> Any:
        manners, key = self._manners, where.key
        config = AioConfig(
            signature_version=UNSIGNED if key is None else "s3v4",
            s3={"addressing_style": where.style},
            # A checksum of ours would be part of a signed URL, and the node would have to send that very one.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            connect_timeout=manners.silence_s,
            read_timeout=manners.silence_s,
            max_pool_connections=manners.connections,
            http_session_cls=_Connections,
            proxies={},
            ignore_configured_endpoint_urls=True,
            warm_up_loader_caches=True,
        )
        return self._session.create_client(
            "s3",
            region_name=where.region,
            endpoint_url=where.endpoint,
            verify=str(manners.ca_file) if manners.ca_file else True,
            aws_access_key_id=key.access_key if key else None,
            aws_secret_access_key=key.secret_key if key else None,
            aws_session_token=key.session_token if key else None,
            config=config,
        )


class _Connections(AIOHTTPSession):  # type: ignore[misc]  # the library has no types
    """What the system trusts is trusted, and beside it what the client is told to."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _session() -> AioSession:
    """A session that looks at no `~/.aws`, no `AWS_*` variable and no metadata service."""
    session = AioSession()
    defaults = {name: default for name, (_, _, default, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    nothing = {"config_file": "/dev/null", "credentials_file": "/dev/null"}
    values = {**defaults, **nothing, "s3": None, "proxies_config": None}
    settled = ConfigValueStore({name: ConstantProvider(value) for name, value in values.items()})
    session.register_component("config_store", settled)
    session.register_component("data_loader", _models())
    return session


@functools.cache
def _models() -> Loader:
    """What the library ships about S3; reading that takes a quarter of a second."""
    return Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


@contextlib.contextmanager
def naming(shown: str) -> Iterator[None]:
    """Turn the library's errors into ours, with the object's name and the store's own words."""
    try:
        yield
    except ClientError as error:
        raise _said(shown, error.response) from error
    except (HTTPClientError, NoConnection) as error:
        raise _unheard(shown, error) from error
    except (OSError, TimeoutError, aiohttp.ClientError, ResponseParserError) as error:
        raise errors.TransferInterrupted(f"{shown}: {_line(str(error)) or type(error).__name__}") from error
    except BotoCoreError as error:
        raise errors.TransferRefused(f"{shown}: {_line(str(error))}") from error


def _said(shown: str, response: Any) -> errors.TransferError:
    """What the store said as an error of ours."""
    status = int(response["ResponseMetadata"].get("HTTPStatusCode", 0))
    code, message = str(response["Error"].get("Code", "")), _line(str(response["Error"].get("Message", "")))
    words = message if code in {"", str(status)} else f"{code}: {message}"
    if code == _CLOCKS:
        words = f"{words} (the clock of this machine or of the store is wrong)"
    passes = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MAY_PASS or code in _WILL_PASS
    kind = errors.TransferInterrupted if passes else errors.TransferRefused
    return kind(f"{shown}: {status} {words}")


def _unheard(shown: str, error: BotoCoreError) -> errors.TransferError:
    """Who did not answer, and why; the library's own sentence has the whole URL."""
    host = urlsplit(str(error.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2] or "the store"
    reason = _line(str(error.kwargs.get("error") or "")) or type(error).__name__
    kind = errors.TransferRefused if _CERTIFICATE in reason else errors.TransferInterrupted
    return kind(f"{shown}: {host} does not answer: {reason}")


def _line(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE_CHARACTERS]
