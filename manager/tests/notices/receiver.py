"""Takes webhooks in: prints its port, then each request as a line of JSON, with whether its signature is
that of the secret.

Arguments: the secret, the port (0 for any), certificate and key ("-" for none), and the statuses to
answer with, separated by commas; the last one for all that follow.
"""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

secret, port, certificate, key, statuses = sys.argv[1:]
statuses = [int(status) for status in statuses.split(",")]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = f"{name}.{at}.".encode() + body
        mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
        expected = "v1," + base64.b64encode(mac.digest()).decode()
        request = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": json.loads(body),
            "signed": hmac.compare_digest(expected, self.headers["webhook-signature"]),
            "recent": abs(time.time() - int(at)) < 300,
        }
        print(json.dumps(request), flush=True)
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.send_response(status)
        if status in (301, 302, 307, 308):
            self.send_header("location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", int(port)), Handler)
if certificate != "-":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
