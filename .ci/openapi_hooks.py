"""Signs the requests that schemathesis makes, so that they come past the door."""

import base64
import hashlib
import hmac
import json
import time

import schemathesis

SECRET = base64.b64decode("c2NoZW1hdGhlc2lzLXdlYmhvb2stc2VjcmV0")


@schemathesis.auth().apply_to(path_regex="^/internal/")
class Signature:
    """The signature is over the very bytes that are sent."""

    def get(self, case, context):
        return "signed"

    def set(self, case, data, context):
        body = b""
        if case.method.upper() in ("POST", "PUT") and isinstance(case.body, (dict, list, str, int, float, bool)):
            body = json.dumps(case.body).encode()
        stamp = str(int(time.time()))
        to_sign = b"schemathesis." + stamp.encode() + b"." + body
        digest = base64.b64encode(hmac.new(SECRET, to_sign, hashlib.sha256).digest()).decode()
        case.headers = dict(case.headers or {})
        case.headers.update({"webhook-id": "schemathesis", "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"})
