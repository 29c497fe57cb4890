#!/bin/sh
# Write who may do what at this RabbitMQ, and start it. RabbitMQ reads that at every start, so a new password counts from then on.
#   RABBITMQ_PASSWORD  of the user tespes, who has the vhost tespes, and his own part of each Pulsar's vhost
#   PULSARS            NAME:PASSWORD ...; each has a user and a vhost of its name
set -eu
umask 077

# What RabbitMQ keeps of a password: base64 of 4 random bytes, and of the SHA-256 of them and the password.
hashed() {
    salt=$(mktemp)
    head -c 4 /dev/urandom >"$salt"
    { cat "$salt" && { cat "$salt" && printf %s "$1"; } | openssl dgst -sha256 -binary; } | base64 | tr -d '\n'
    rm "$salt"
}

user() {
    printf '{"name": "%s", "password_hash": "%s", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}' "$1" "$(hashed "$2")"
}

# What a user may make, publish to and take from at a vhost: the names that match.
permission() {
    printf '{"user": "%s", "vhost": "%s", "configure": "%s", "write": "%s", "read": "%s"}' "$1" "$2" "$3" "$3" "$3"
}

# TESPES: its own exchanges and queues, those that RabbitMQ names, and at a Pulsar's vhost all that Pulsar and it talk by.
own='^(amq\\.default|amq\\.gen.*|tespes\\..*)$'
talk='^(amq\\.default|tespes\\.dead|pulsar|pulsar__.*)$'
# A Pulsar: the exchange, and the queues that it takes orders from; what others hear of it, it can only publish.
orders='^(pulsar|pulsar__(setup|kill|status))$'

users=$(user tespes "$RABBITMQ_PASSWORD")
vhosts='{"name": "tespes"}'
permissions=$(permission tespes tespes "$own")
for pulsar in $PULSARS; do
    name=${pulsar%%:*}
    users="$users, $(user "$name" "${pulsar#*:}")"
    vhosts="$vhosts, {\"name\": \"$name\"}"
    permissions="$permissions, $(permission tespes "$name" "$talk"), $(permission "$name" "$name" "$orders")"
done
printf '{"users": [%s], "vhosts": [%s], "permissions": [%s]}\n' "$users" "$vhosts" "$permissions" >/var/lib/rabbitmq/definitions.json
# Where an engine allows a thousand million open files, Erlang takes minutes to start and much memory.
ulimit -n 65536 2>/dev/null || true
exec docker-entrypoint.sh rabbitmq-server
