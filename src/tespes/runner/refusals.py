"""What an answer that is no success means: whether to ask again, and the reason in words."""

from __future__ import annotations

import json
import re

from . import call, callback, faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

_GATEWAY_STATUSES = (502, 503, 504)
_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529)
_TOO_MANY = 429
_PASSING_CODES = (
    *("ExpiredToken", "InternalError", "OperationAborted", "RequestExpired", "RequestTimeout", "ServiceUnavailable"),
    *("SlowDown", "Throttling", "TokenRefreshRequired"),
)
_EXPIRED = "request has expired"
_MOST_READ_BYTES = 64 * 1024
_LONGEST_TEXT = 300
_SECRETS = (  # a storage may repeat what it was asked: the address, which is signed, or its headers
    (re.compile(r"(?i)\bauthorization\W{0,3}(?:[:=]|\b(?:aws\S*|basic|bearer)\s).*"), "Authorization..."),
    (re.compile(r"(?<=\S)\?\S+"), "?..."),
    (re.compile(r"//[^\s/@]*@"), "//"),
    (
        re.compile(
            r"""(?i)((?:x-(?:amz|goog)-[\w-]*|signature|credential|accesskeyid|accessid|token|\bsig)["']?\s*(?:=|:|%3d))\s*[^\s&]+"""
        ),
        r"\1...",
    ),
)
_CLOCKS = " (the clock of TESPES or that of the store is wrong)"


class Passing(Exception):
    """Asking again may help; the message is the reason if it does not."""


class Busy(Exception):
    """TESPES moves as many files as it may: asking again helps."""


def of_tespes(answer: call.Answer) -> Exception:
    """Why TESPES refused a transfer."""
    if answer.status == callback.GONE:
        return faults.Killed("TESPES does not want this attempt any more")
    if answer.status == _TOO_MANY:
        return Busy()
    problem = callback.problem(answer.status, answer.body())
    if answer.status in _GATEWAY_STATUSES and problem["retryable"] is None:
        return call.Away(problem["detail"])
    if answer.status >= call.SERVER_ERROR and problem["retryable"] is not False:
        return Passing(problem["detail"])
    return faults.SystemFailure(problem["detail"], retryable=bool(problem["retryable"]))


def of_a_storage(answer: call.Answer, shown: str) -> Exception:
    """Why a storage refused, told without anything it says but S3's code and message, and without secrets in them."""
    code, message = _of_s3(answer)
    words = f"{code}: {message}" if code and message else code or printable(answer.phrase)
    if code == "RequestTimeTooSkewed":
        words += _CLOCKS
    reason = f"{shown}: {answer.status} {words}".rstrip()
    if answer.status in _PASSING_STATUSES or code in _PASSING_CODES or _EXPIRED in message.lower():
        return Passing(reason)
    return faults.SystemFailure(reason)


def of_a_listing(problem: object) -> Exception:
    """Why TESPES could not go on with a list that it had begun."""
    said = problem if isinstance(problem, dict) else {}
    detail = str(said.get("detail") or json.dumps(problem))
    return Passing(detail) if said.get("retryable") else faults.SystemFailure(detail)


def _of_s3(answer: call.Answer) -> Tuple[str, str]:
    try:
        body = answer.text(_MOST_READ_BYTES)
    except OSError:
        return "", ""
    if b"<Error" not in body[:200]:
        return "", ""
    return _element(body, b"Code"), _element(body, b"Message")


def _element(body: bytes, name: bytes) -> str:
    found = re.search(b"<%s>([^<]*)</%s>" % (name, name), body)
    text = found.group(1).decode("utf-8", "replace") if found else ""
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return printable(text)


def printable(text: str) -> str:
    """Words of somebody else that people may read: one line, not too long, and no secret."""
    text = "".join(character if character.isprintable() else " " for character in text[: 4 * _LONGEST_TEXT])
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text[:_LONGEST_TEXT].strip()
