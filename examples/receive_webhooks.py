"""Receive webhooks of comfyledger and print a line for each event: receive_webhooks.py PORT SECRET_FILE"""

import base64
import hmac
import json
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OLD_S = 300
IDS_MAX = 10_000
BODY_BYTES_MAX = 2**24
known: dict[str, None] = {}  # an app keeps ids in its database, in the transaction of what it does


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
    sent_s = headers.get("webhook-timestamp", "")
    if not (sent_s.isascii() and sent_s.isdigit()) or abs(now_s - int(sent_s)) > OLD_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{sent_s}.".encode() + body
    wanted = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(wanted, one) for one in given)


class Receiver(BaseHTTPRequestHandler):
    secret = ""

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        if size > BODY_BYTES_MAX:
            self.answer(413)
            return
        body = self.rfile.read(size)
        if not is_signed(self.secret, self.headers, body, time.time()):
            self.answer(401)
            return
        message_id = self.headers["webhook-id"]
        if message_id not in known:
            told(json.loads(body))
            known[message_id] = None
            if len(known) > IDS_MAX:
                del known[next(iter(known))]
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is logged for each request."""


def told(event: dict) -> None:
    data = event["data"]
    image, batch = data.get("image") or {}, data.get("batch") or {}
    where = image.get("file_url") or batch.get("batch_id", "")
    print(event["type"], image.get("name") or batch.get("request_id", ""), where, flush=True)


if len(sys.argv) != 3:
    sys.exit(__doc__)
Receiver.secret = Path(sys.argv[2]).read_text().strip()
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
