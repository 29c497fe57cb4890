"""Executors in Podman containers, through the podman command line (4.0 or later). There is no daemon."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from . import engine, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from . import protocol

# Podman that is killed at the wrong moment forgets a container which its monitor (conmon) already has: it never begins,
# and `podman rm` does not end it. The first argument names the containers, the others are the command that removes them.
_REMOVE_FORGOTTEN_TOO = """
names=$1; shift
"$@"
set -f
for name in $names; do
    for file in $(set +f; grep -lzxF -e "$name" /proc/[0-9]*/cmdline); do
        runtime= id= before=
        for word in $(tr '\\0' ' ' <"$file"); do
            case $before in -r) runtime=$word ;; -c) id=$word ;; esac
            case $before$word in */conmon) runtime=- ;; esac
            [ "$runtime" ] || break
            before=$word
        done
        [ "$id" ] && "$runtime" delete --force "$id"
    done
done
"""
_CGROUPS_V2 = "/sys/fs/cgroup/cgroup.controllers"


class Podman(engine.Engine):
    """Each client makes its container itself, as the user that it runs as."""

    name = "podman"
    network = "private"
    says = messages.Messages(
        ("Error: ",),
        ("oci runtime /", "no valid executable found for oci runtime", "storage driver", "static files directory", "libpod"),
    )
    of_the_client = ("CONTAINER", "PODMAN_", "REGISTRY_", "STORAGE_", "CONMON", "NETAVARK", "BUILDAH_", "_")
    reads_quotes = True  # in an env-file, from 4.5 on
    removing = ("rm", "--force", "--time", "0", "--volumes", "--ignore")

    def notes(self, plan: protocol.Plan) -> List[str]:
        """Podman itself says in its documentation that it cannot limit without root where there are cgroups of version 1."""
        limits = plan.get("resources") or {}
        if os.geteuid() == 0 or os.path.exists(_CGROUPS_V2):
            return []
        return [f"podman: {name} is not enforced" for name in ("cpu_cores", "ram_gb") if limits.get(name)]

    def removal(self, plan: protocol.Plan) -> List[str]:
        names = " ".join(self._name(index) for index in range(len(plan["executors"])))
        return ["/bin/sh", "-c", _REMOVE_FORGOTTEN_TOO, "tespes-removal", names, *super().removal(plan)]

    def _entrypoint(self, program: str) -> str:
        """As JSON: podman takes what looks like a JSON list for one."""
        return json.dumps([program])

    def _wrote_that_memory_ran_out(self) -> bool:
        """Podman's monitor (conmon, with cgroups of version 1) leaves a file where podman was started, and forgets it."""
        mark = self._given.place("oom")
        with suppress(FileNotFoundError):
            os.unlink(mark)
            return True
        return False

    def _must_make_workdir(self) -> bool:
        return True
