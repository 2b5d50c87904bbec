"""Record what Xet's client sends: `python -m tests.hub.record_xet` writes tests/hub/xet anew.

It sends small files of each way that chunks are packed to a server that takes everything, so what
is kept does not depend on ours. Run it with another release of `hf-xet` to see what that one sends.
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np

FOLDER = Path(__file__).with_name("xet")


def contents():
    """Give files whose chunks are not packed, packed by LZ4, in groups, and one of the others."""
    chance = np.random.default_rng(0)
    noise = chance.bytes(24_000)
    text = b"".join(b'{"step": %d, "loss": 0.25}\n' % step for step in range(4_500))
    floats = chance.normal(0, 0.02, 7_000).astype(np.float32).tobytes()
    return {"noise": noise, "text": text, "floats": floats, "twice": text + noise + text[:60_000]}


class Taking(BaseHTTPRequestHandler):
    """Takes xorbs and shards, and knows no newer form."""

    protocol_version = "HTTP/1.1"
    kept: ClassVar[list[tuple[str, bytes]]] = []

    def do_GET(self):
        self.answer(404, {})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if "/v1/xorbs/" in self.path or self.path.endswith("/v1/shards"):
            self.kept.append((self.path, raw))
            self.answer(200, {"was_inserted": True, "result": 1})
        else:
            self.answer(404, {})

    def answer(self, status, told):
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_args):
        """Say nothing."""


def main():
    import hf_xet

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files, token = contents(), ("t", 1 << 40)
    digests = [hashlib.sha256(raw).hexdigest() for raw in files.values()]
    url = f"http://127.0.0.1:{server.server_port}"
    hf_xet.upload_bytes(list(files.values()), url, token, lambda: token, None, "model", sha256s=digests)
    server.shutdown()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for path, raw in Taking.kept:
        name = f"{path.rpartition('/')[2]}.xorb" if "/xorbs/" in path else "files.shard"
        (FOLDER / name).write_bytes(raw)
    kept = {"files": dict(zip(files, digests, strict=True))}
    (FOLDER / "files.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
