"""The settings of storages: who TESPES is where, and how files are moved; and the same in the storages' own terms."""

from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator

from tespes import storage
from tespes.settings.values import Address, Bucket, Directories, Host, Seconds, Secret, Section
from tespes.storage import ftp, http, local, s3


class _Login(Section):
    """A user and a password: both, or none."""

    user: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password, or none of them, are expected")
        return self


class FtpOwner(_Login):
    """Who TESPES is for the tasks of one owner."""

    owner: str


class FtpServer(_Login):
    """Who TESPES is on an FTP server. `tls`: `explicit` begins in plain text, `implicit` is that of ftps:// URLs."""

    tls: Literal["none", "explicit", "implicit"] | None = None
    owners: tuple[FtpOwner, ...] = ()


class _WebAccess(_Login):
    token: Secret | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.token is not None and self.user is not None:
            raise ValueError("a user and a password, or a token, are expected, not both")
        return self


class WebOwner(_WebAccess):
    """What a web server is told for the tasks of one owner."""

    owner: str


class WebServer(_WebAccess):
    """What a web server is told: a user and a password, or a bearer token. `through`: bytes pass through TESPES in any case."""

    through: bool = False
    owners: tuple[WebOwner, ...] = ()


class _S3Key(Section):
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key, or none of them, are expected")
        return self


class S3Owner(_S3Key):
    """Who TESPES is for the tasks of one owner."""

    owner: str


class S3Access(_S3Key):
    """Where a bucket is and who TESPES is there. Without `endpoint`: Amazon's own. `style`: where the bucket stands in URLs."""

    endpoint: Address | None = None
    region: str = "us-east-1"
    style: Literal["path", "virtual"] = "path"
    owners: tuple[S3Owner, ...] = ()


class S3(Section):
    """`buckets`: for `s3://BUCKET/KEY`, by name, or by a beginning and `*`. `hosts`: for `s3://HOST/BUCKET/KEY`."""

    buckets: dict[Bucket, S3Access] = Field(default_factory=dict)
    hosts: dict[Host, S3Access] = Field(default_factory=dict)


class FileRoots(Section):
    """Directories of TESPES's machine below which tasks may read, or read and write, files."""

    read: Directories = ()
    write: Directories = ()


class Storage(Section):
    """`ftp` and `http`: servers by `host:port`, or by `host` if they are at the usual port (FTP 21 or 990, https 443).

    What the rest is for: see `storage.Manners` and `pulsar.Habits`.
    """

    ftp: dict[Host, FtpServer] = Field(default_factory=dict)
    http: dict[Host, WebServer] = Field(default_factory=dict)
    s3: S3 = S3()
    file: FileRoots = FileRoots()
    silence_s: Seconds = 30.0
    connections: Annotated[int, Field(ge=1, le=1000)] = 8
    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    url_lifetime_s: Annotated[float, Field(ge=1, le=604_800)] = 900.0
    part_bytes: Annotated[int, Field(ge=5 * 2**20, le=5 * 2**30)] = 64 * 2**20
    most_files: Annotated[int, Field(ge=1, le=100_000)] = 100_000
    ca_file: FilePath | None = None


class Outputs(Section):
    """`missing`: what an output that the task did not make is: a `note` in system_logs, or a `fail`ure of the task."""

    missing: Literal["note", "fail"] = "note"


def options(settings: Storage) -> storage.Options:
    """What the storages need."""
    manners = storage.Manners(
        settings.silence_s, settings.connections, settings.url_lifetime_s, settings.part_bytes, settings.ca_file
    )
    return storage.Options(
        ftp={host: _ftp_server(server) for host, server in settings.ftp.items()},
        http={host: _web_server(server) for host, server in settings.http.items()},
        s3_buckets={name: _s3_access(access) for name, access in settings.s3.buckets.items()},
        s3_hosts={host: _s3_access(access) for host, access in settings.s3.hosts.items()},
        file=local.Roots(settings.file.read, settings.file.write),
        manners=manners,
    )


def _ftp_server(server: FtpServer) -> ftp.Server:
    owners = {each.owner: login for each in server.owners if (login := _ftp_login(each)) is not None}
    return ftp.Server(_ftp_login(server), owners, server.tls)


def _ftp_login(login: _Login) -> ftp.Login | None:
    return ftp.Login(login.user, login.password.get_secret_value()) if login.user and login.password else None


def _web_server(server: WebServer) -> http.Server:
    owners = {each.owner: access for each in server.owners if (access := _web_access(each)) is not None}
    return http.Server(_web_access(server), owners, server.through)


def _web_access(access: _WebAccess) -> http.Access | None:
    if access.user is None and access.token is None:
        return None
    return http.Access(access.user, _plain(access.password), _plain(access.token))


def _s3_access(access: S3Access) -> s3.Access:
    owners = {each.owner: key for each in access.owners if (key := _s3_key(each)) is not None}
    return s3.Access(access.endpoint, access.region, access.style, _s3_key(access), owners)


def _s3_key(key: _S3Key) -> s3.Key | None:
    if key.access_key is None or key.secret_key is None:
        return None
    return s3.Key(key.access_key.get_secret_value(), key.secret_key.get_secret_value(), _plain(key.session_token))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
