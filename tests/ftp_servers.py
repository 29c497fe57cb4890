"""Real FTP servers on loopback: vsftpd and pyftpdlib, with and without TLS."""

import contextlib
import logging
import secrets
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import psutil
import trustme

from tespes.local.ports import LOOPBACK, free_port

with warnings.catch_warnings():  # it uses modules that are on their way out of Python
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

Handler = FTPHandler  # for tests that change what a server does
VSFTPD = Path("/usr/sbin/vsftpd")

Tls = Literal["none", "explicit", "implicit"]


@dataclass(frozen=True)
class Certificate:
    """Of a server on loopback.

    :param ca_file: who trusts this, trusts the server; :param file: key and certificate
    """

    ca_file: Path
    file: Path

    @classmethod
    def made(cls, directory: Path, name: str = LOOPBACK) -> Self:
        """A new authority, and one certificate of it."""
        directory.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        made = cls(directory / "ca.pem", directory / "server.pem")
        authority.cert_pem.write_to_path(made.ca_file)
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(made.file)
        return made

    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


@dataclass
class FtpServer:
    """What all of them have. `with` starts and stops it.

    :param directory: what its URL leads to; made if missing
    """

    directory: Path
    tls: Tls = "none"
    certificate: Certificate | None = None
    user: str = "ftp"
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Of the directory, with user and password, without a slash at its end."""
        scheme = "ftps" if self.tls == "implicit" else "ftp"
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}"

    @property
    def host(self) -> str:
        """As the settings name it."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Listen."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it and its connections."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Vsftpd(FtpServer):
    """The server of most Linux distributions; it knows no MLSD and no MLST.

    It runs as whoever starts it, and then cannot lock its user up in the directory: that is part of the URL. The
    anonymous user writes too, and has a password. Data connections must go on with the control connection's TLS
    session, which is vsftpd's own default.
    """

    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """With user and password, and the path of the directory."""
        return f"{super().url}{quote(str(self.directory))}"

    def start(self) -> Self:
        """Listen."""
        assert VSFTPD.is_file(), "no vsftpd: apt-get install --no-install-recommends vsftpd"
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory.with_name(f"{self.directory.name}.vsftpd.conf")
        passwords = self.directory.with_name(f"{self.directory.name}.vsftpd.passwords")
        empty = self.directory.with_name(f"{self.directory.name}.vsftpd.empty")
        empty.mkdir(exist_ok=True)
        passwords.write_text(f"{self.password}\n")
        lines = [
            *("listen=YES", f"listen_address={LOOPBACK}", f"listen_port={self.port}", "background=NO"),
            *("run_as_launching_user=YES", f"secure_chroot_dir={empty}", "seccomp_sandbox=NO", "xferlog_enable=NO"),
            *("anonymous_enable=YES", "local_enable=NO", f"anon_root={self.directory}", "ftp_username=root"),
            *("secure_email_list_enable=YES", f"email_password_file={passwords}", "anon_world_readable_only=NO"),
            *("write_enable=YES", "anon_upload_enable=YES", "anon_mkdir_write_enable=YES", "anon_other_write_enable=YES"),
            *("anon_umask=022", "use_localtime=NO", "delay_failed_login=0", *self.options),
        ]
        if self.certificate is not None:
            lines += ["ssl_enable=YES", "allow_anon_ssl=YES", "force_anon_logins_ssl=YES", "force_anon_data_ssl=YES"]
            lines += [f"rsa_cert_file={self.certificate.file}", f"implicit_ssl={'YES' if self.tls == 'implicit' else 'NO'}"]
        configuration.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([VSFTPD, configuration], stdin=subprocess.DEVNULL)
        _until_it_listens(self.port, self._process)
        return self

    def stop(self) -> None:
        """End it and its connections."""
        if self._process is not None:
            connections = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            self._process.wait(10)
            for connection in connections:
                with contextlib.suppress(psutil.NoSuchProcess):
                    connection.terminate()
            self._process = None


@dataclass
class Pyftpdlib(FtpServer):
    """A server in Python, in a thread, which knows MLSD. TLS is explicit here.

    :param lacks: commands that it is made to forget
    """

    lacks: Collection[str] = ()
    handler: type[FTPHandler] | None = None
    _server: FTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen."""
        self.directory.mkdir(parents=True, exist_ok=True)
        logging.getLogger("pyftpdlib").disabled = True  # it tells every command on the terminal
        authorizer = DummyAuthorizer()
        authorizer.add_user(self.user, self.password, str(self.directory), perm="elradfmwMT")
        known = {name: how for name, how in FTPHandler.proto_cmds.items() if name not in self.lacks}
        settings: dict[str, Any] = {"authorizer": authorizer, "proto_cmds": known, "use_gmt_times": True}
        base = self.handler or (FTPHandler if self.certificate is None else TLS_FTPHandler)
        if self.certificate is not None:
            settings["proto_cmds"] = TLS_FTPHandler.proto_cmds
            settings |= {"certfile": str(self.certificate.file), "tls_control_required": True, "tls_data_required": True}
        self._server = FTPServer((LOOPBACK, self.port), type("Handler", (base,), settings), ioloop=IOLoop())
        self._thread = threading.Thread(target=self._serve, args=(self._server,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it and its connections."""
        if self._server is not None and self._thread is not None:
            self._server.ioloop.call_later(0, self._server.close_all)
            self._thread.join(10)
            self._server = None

    def drop_connections(self) -> None:
        """Lose every control connection without a word, as after a restart."""
        if self._server is not None:
            for connection in list(self._server.ioloop.socket_map.values()):
                if isinstance(connection, FTPHandler):
                    self._server.ioloop.call_later(0, connection.close)

    def _serve(self, server: FTPServer) -> None:
        while server.ioloop.socket_map:
            server.ioloop.loop(timeout=0.02, blocking=False)


@contextlib.contextmanager
def vsftpd(directory: Path, tls: Tls = "none", *options: str) -> Iterator[Vsftpd]:
    """One that runs, with a certificate of its own where it needs one."""
    certificate = Certificate.made(directory.with_name(f"{directory.name}.tls")) if tls != "none" else None
    with Vsftpd(directory, tls, certificate, options=options) as server:
        yield server


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
            return
        assert process.poll() is None, f"vsftpd ended with {process.returncode}"
        time.sleep(0.02)
    raise AssertionError("vsftpd does not listen")
