"""What a storage says, as far as it is told: tespes.runner.refusals."""

from __future__ import annotations

import time

import pytest

from tespes.runner import refusals

URL = "http://u:secret@h/b/k?X-Amz-Credential=secret%2Fx&X-Amz-Signature=secret"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"GET {URL} is denied", "GET http://h/b/k?... is denied"),
        ("X-Amz-Signature=secret&X-Amz-Security-Token=secret", "X-Amz-Signature=...&X-Amz-Security-Token=..."),
        ("AWSAccessKeyId=secret&Signature=secret&Expires=1", "AWSAccessKeyId=...&Signature=...&Expires=1"),
        ("X-Amz-Signature%3Dsecret", "X-Amz-Signature%3D..."),
        ("Signature = 'secret' is wrong", "Signature =... is wrong"),
        ('got "Credential": "secret", sorry', 'got "Credential":... sorry'),
        ("GoogleAccessId=secret X-Goog-Signature=secret sig=secret", "GoogleAccessId=... X-Goog-Signature=... sig=..."),
        ("Authorization: AWS4-HMAC-SHA256 Credential=secret, Signature=secret", "Authorization..."),
        ("no such Authorization Basic secret secret", "no such Authorization..."),
        ("authorization=secret", "Authorization..."),
    ],
)
def test_no_secret_is_told(said: str, told: str) -> None:
    """A storage may repeat the signed URL that it was asked for, and the headers."""
    assert refusals.printable(said) == told


@pytest.mark.parametrize(
    "said",
    [
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'",
        "Error parsing the X-Amz-Credential parameter; the region 'x' is wrong",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        "The AWS Access Key Id you provided does not exist in our records.",
        "Who are you? Nobody.",
    ],
)
def test_what_helps_is_told(said: str) -> None:
    """The usual words of S3 have no secrets in them."""
    assert refusals.printable(said) == said


def test_long_texts_are_cut_in_no_time() -> None:
    """Also those that look like the beginnings of ten thousand secrets."""
    begun = time.perf_counter()
    for said in ("x-amz-", "signature ", "authorization ", "//", "?", "a?", '"'):
        assert len(refusals.printable(said * 10_000)) <= 300
    assert time.perf_counter() - begun < 1
