#!/bin/sh
# The members of a replica set know each other by a key; it is made at the first start, and kept beside the data.
set -eu
key=/data/configdb/replica-set.key
if [ ! -s "$key" ]; then
    (umask 077 && head -c 512 /dev/urandom | base64 -w 0 >"$key")
fi
chown mongodb "$key"
ulimit -n 65536 2>/dev/null || true  # the open files that MongoDB wants, if so many are allowed
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile "$key" --bind_ip_all
