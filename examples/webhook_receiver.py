"""A receiver of TESPES's webhooks, with nothing but Python's standard library.

    WEBHOOK_SECRET=whsec_... python webhook_receiver.py --port 9000 --seen seen.txt

It checks the signature (Standard Webhooks), drops what it has seen, and prints a line for each event. An event is taken when
it is answered with 2xx: whatever else is answered, TESPES sends it again, and nothing that comes after it before.
"""

import argparse
import base64
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOLERANCE_S = 300
MAX_BYTES = 4 * 2**20  # no event is larger
SILENCE_S = 60


def is_genuine(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Whether the holder of the key sent this, now: an old one may be somebody else's copy."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return False
    digest = hmac.digest(key, f"{headers.get('webhook-id', '')}.{sent_at}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}".encode()
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected, each) for each in given)


class Receiver:
    """Takes each event once.

    :param seen: a file with the sequence of the last one; sequences sort as texts, and events come in order
    """

    def __init__(self, key: bytes, seen: Path) -> None:
        self.key = key
        self._seen = seen
        self._last = seen.read_text() if seen.exists() else ""
        self._turn = threading.Lock()

    def take(self, event: dict[str, str]) -> None:
        """Do what is to be done with it, then remember that. Whoever does more than print makes both in one transaction."""
        with self._turn:
            if event["sequence"] > self._last:
                print(event["sequence"], event["type"], event["subject"], flush=True)
                fresh = self._seen.with_suffix(".new")
                fresh.write_text(event["sequence"])
                fresh.replace(self._seen)
                self._last = event["sequence"]


def handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    """What answers a request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps the connection for the next event
        timeout = SILENCE_S  # of the connection: whoever says nothing for so long is left

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            if not (size.isascii() and size.isdecimal()):
                self._refuse(411)
            elif len(size) > len(str(MAX_BYTES)) or int(size) > MAX_BYTES:
                self._refuse(413)
            else:
                self._take(self.rfile.read(int(size)))

        def _take(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            if is_genuine(receiver.key, headers, body):
                receiver.take(json.loads(body))
                self._answer(204)
            else:
                self._refuse(401)

        def _refuse(self, status: int) -> None:
            self.close_connection = True
            self._answer(status)

        def log_message(self, *_: object) -> None:
            """Silence: the events are what is printed."""

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def main() -> None:
    """Receive until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--seen", type=Path, default=Path("seen.txt"))
    given = parser.parse_args()
    key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
    receiver = Receiver(key, given.seen)
    with ThreadingHTTPServer(("127.0.0.1", given.port), handler(receiver)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
