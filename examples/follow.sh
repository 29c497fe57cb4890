#!/bin/sh
# Follow what happens, one line for each event: a CloudEvent as JSON. Needs curl and GNU sed.
#
#     examples/follow.sh http://127.0.0.1:8080 'after=0&type=TaskCompleted'
#
# The second argument is optional: without it, everything that happens from now on.
curl --silent --show-error --fail --no-buffer "$1/events/stream?$2" | sed --unbuffered --quiet 's/^data: //p'
