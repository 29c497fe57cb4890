"""What the settings say of S3 stores, and which of it a URL means. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tespes import errors
from tespes.storage.promise import At
from tespes.tes import urls


@dataclass(frozen=True, slots=True)
class Key:
    """Who TESPES is at an S3 store."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """What the settings say of a bucket, or of a host with buckets.

    :param endpoint: of the store; None is Amazon's own, or the host's under https
    :param style: whether the bucket stands in the path or in the host name
    :param key: None: requests are not signed (public buckets); :param owners: who has another one
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    style: Literal["path", "virtual"] = "path"
    key: Key | None = None
    owners: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """An object in a store, or a directory of objects, and as whom TESPES goes there.

    :param name: the object's key, as it is: nothing in it is escaped
    """

    endpoint: str | None
    region: str
    style: Literal["path", "virtual"]
    key: Key | None
    bucket: str
    name: str
    shown: str

    @property
    def prefix(self) -> str:
        """What the names of all objects in the directory begin with."""
        directory = self.name.rstrip("/")
        return f"{directory}/" if directory else ""


def place(at: At, buckets: Mapping[str, Access], hosts: Mapping[str, Access]) -> Place:
    """What the URL means: `s3://BUCKET/KEY`, or `s3://HOST[:PORT]/BUCKET/KEY` for a host that is in `hosts`.

    :raises errors.TransferRefused: it names no bucket, or one that is not in the settings
    """
    shown = urls.shown(at.url)
    first, _, name = at.url.partition("://")[2].partition("/")
    bucket, endpoint = first, None
    if (access := hosts.get(first)) is not None:
        bucket, _, name = name.partition("/")
        endpoint = f"https://{first}"
    if not bucket:
        raise errors.TransferRefused(f"{shown}: the URL names no bucket")
    access = access or _named(bucket, buckets)
    if access is None:
        raise errors.TransferRefused(f"{shown}: the settings have no S3 bucket {bucket.rpartition('@')[2]}")
    key = access.owners.get(at.owner, access.key)
    return Place(access.endpoint or endpoint, access.region, access.style, key, bucket, name, shown)


def _named(bucket: str, buckets: Mapping[str, Access]) -> Access | None:
    """The entry of that name, or else the longest beginning of it."""
    if bucket in buckets and not bucket.endswith("*"):
        return buckets[bucket]
    beginnings = [name for name in buckets if name.endswith("*") and bucket.startswith(name[:-1])]
    return buckets[max(beginnings, key=len)] if beginnings else None
