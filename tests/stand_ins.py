"""Images of the same names as the published ones that docker-compose.yaml uses, made on this machine: nothing is pulled.

What is in them is real (Debian's RabbitMQ and nginx, SeaweedFS, rclone, Docker's client, this Python), but for MongoDB, whose
place the MongoDB wire server takes. Programs lie where the published images have them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from docker_engine import DockerEngine
from images import Files

_BIN: Final = Path(sys.executable).parent
_SITE_THERE: Final = f"usr/local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
_USUAL: Final = ("bash", "coreutils", "dash", "findutils", "grep", "sed", "passwd", "netbase", "util-linux")
_TRUSTED: Final = "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"  # what this machine trusts
_PATH: Final = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MONGOD: Final = """\
#!/bin/sh
# Like the published image: not as root; the first start makes the users, and the next ones ask who comes.
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p /data/db
    chown mongodb /data/db
    exec setpriv --reuid mongodb --regid mongodb --clear-groups "$0" "$@"
fi
serve="secantusd-py --port 27017 --storage-path /data/db/store --standalone --sync-on-commit --cache-size 256M"
if [ ! -e /data/db/users ]; then
    $serve --host 127.0.0.1 &
    first_users.py
    kill $! && wait $! || true
    touch /data/db/users
fi
exec $serve --host 0.0.0.0 --auth
"""
_FIRST_USERS: Final = """\
#!/usr/local/bin/python
import os, pymongo
client = pymongo.MongoClient("mongodb://127.0.0.1/?directConnection=true&serverSelectionTimeoutMS=20000")
client.admin.command("createUser", "root", pwd=os.environ["MONGO_INITDB_ROOT_PASSWORD"], roles=["root"])
roles = [{"role": "readWrite", "db": "tespes"}]
client.tespes.command("createUser", "tespes", pwd=os.environ["MONGODB_PASSWORD"], roles=roles)
"""
_MONGOSH: Final = """\
#!/usr/local/bin/python
import os, pymongo, socket
pymongo.MongoClient(
    socket.gethostname(), username="root", password=os.environ["MONGO_INITDB_ROOT_PASSWORD"], directConnection=True
).admin.command("ping")
"""
_RABBITMQ: Final = """\
#!/bin/sh
set -eu
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
export HOME=/var/lib/rabbitmq
exec setpriv --reuid rabbitmq --regid rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server
"""


@dataclass(frozen=True)
class StandIn:
    """How an image is made, and what `docker import` is told of it."""

    fill: Callable[[Files], None]
    changes: tuple[str, ...] = ()


def _python(files: Files) -> None:
    files.packages(*_USUAL, "binutils")
    files.text("usr/bin/apt-get", "#!/bin/sh\nexit 0\n", 0o755)  # what is asked of it is there
    files.python()
    _distribution(files, "pip")


def _docker(files: Files) -> None:
    files.program(Path(str(shutil.which("docker"))), "usr/local/bin/docker")


def _mongodb(files: Files) -> None:
    _python(files)
    for name in _needed_by("secantusdb"):
        _distribution(files, name)
    program = (_BIN / "secantusd-py").read_text().split("\n", 1)[1]
    files.text("usr/local/bin/secantusd-py", f"#!/usr/local/bin/python\n{program}", 0o755)
    files.text("usr/local/bin/docker-entrypoint.sh", _MONGOD, 0o755)
    files.text("usr/local/bin/first_users.py", _FIRST_USERS, 0o755)
    files.text("usr/local/bin/mongosh", _MONGOSH, 0o755)


def _needed_by(distribution: str) -> set[str]:
    """That and all it needs here."""
    found: set[str] = set()
    left = [distribution]
    while left:
        name = left.pop()
        with contextlib.suppress(metadata.PackageNotFoundError):  # for other systems, or an extra
            requires = metadata.requires(name) or []
            found.add(name)
            left += [each for text in requires if (each := re.split(r"[^\w.-]", text)[0]) not in found]
    return found


def _distribution(files: Files, name: str) -> None:
    for each in metadata.files(name) or ():
        if each.suffix != ".pyc" and ".." not in each.parts:
            files.file(Path(str(each.locate())), f"{_SITE_THERE}/{each}")


def _rabbitmq(files: Files) -> None:
    files.packages(*_USUAL, "rabbitmq-server", "openssl")
    files.text("usr/local/bin/docker-entrypoint.sh", _RABBITMQ, 0o755)
    files.directory("var/lib/rabbitmq")
    files.directory("var/log/rabbitmq")


def _s3(files: Files) -> None:
    files.packages(*_USUAL, "wget")
    files.program(_BIN / "weed", "usr/bin/weed")
    files.directory("data", owner=1000)


def _ftp(files: Files) -> None:
    for name in ("sh", "nc", "grep"):
        files.file(Path(str(shutil.which("busybox"))).resolve(), f"usr/bin/{name}")
    files.program(_BIN / "rclone", "usr/local/bin/rclone")


def _nginx(files: Files) -> None:
    files.packages(*_USUAL, "nginx-light")


IMAGES: Final[Mapping[str, StandIn]] = {
    "python": StandIn(_python, (_PATH, _TRUSTED, 'CMD ["python3"]')),
    "docker": StandIn(_docker),
    "mongo": StandIn(_mongodb, (_PATH, 'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["mongod"]')),
    "rabbitmq": StandIn(_rabbitmq, (_PATH, 'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["rabbitmq-server"]')),
    "chrislusf/seaweedfs": StandIn(_s3, (_PATH, "VOLUME /data")),
    "rclone/rclone": StandIn(_ftp, (_PATH, 'ENTRYPOINT ["rclone"]')),
    "nginx": StandIn(_nginx, (_PATH, 'CMD ["nginx", "-g", "daemon off;"]')),
}


def make(engine: DockerEngine, image: str) -> None:
    """An image of that name and tag."""
    stand_in = IMAGES[image.rpartition(":")[0]]
    files = Files()
    stand_in.fill(files)
    changes = [word for change in stand_in.changes for word in ("--change", change)]
    imported(engine, image, files.archive(), changes)


def imported(engine: DockerEngine, image: str, archive: bytes, changes: list[str]) -> None:
    """An image of that root file system."""
    command = ["docker", "--host", engine.host, "import", *changes, "-", image]
    made = subprocess.run(command, input=archive, check=False, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
