#!/bin/sh
# Follow what happens, one line for each event: a CloudEvent as JSON. Needs curl.
#
#     examples/follow.sh http://127.0.0.1:8080 'after=0&type=TaskCompleted'
#
# The second argument is optional: without it, everything that happens from now on. When the stream ends, or nobody is there,
# it comes again after 2 s, and goes on where it was. It ends with whoever reads it.
exec 3>&1
last=
while true; do
    last=$(
        curl --silent --show-error --fail --no-buffer --header "Last-Event-ID: $last" "$1/events/stream?$2" | {
            while IFS= read -r line; do
                case $line in
                "data: "*) printf '%s\n' "${line#data: }" >&3 || exit 1 ;;
                "id: "*) last=${line#id: } ;;
                esac
            done
            printf '%s' "$last"
        }
    ) || exit 1
    sleep 2
done
