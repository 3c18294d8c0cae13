"""A slow server of weights on the loopback interface, for `kills.py`."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

PIECE = 1 << 16  # bytes
PAUSE = 0.015  # seconds between pieces: about 4 MB/s
SIZE = 6_000_000

FETCH = """
import os
from tlkit.backbones import catalog
catalog.WEIGHTS["vgg16"] = (catalog.WEIGHTS["vgg16"][0], os.environ["LOOPBACK_MD5"])
from tlkit.cli import main
main()
"""
"""The command line, with the checksum of this server's file in place of the published one."""


def hdf5() -> bytes:
    """A whole HDF5 file of random numbers."""
    import h5py
    import numpy as np

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["numbers"] = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    return stream.getvalue()


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve one file under every name, with ranges; gives the environment that leads tlkit there."""
    content = hdf5()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            with suppress(ConnectionError):  # the client was killed
                for place in range(start, len(content), PIECE):
                    self.wfile.write(content[place : place + PIECE])
                    time.sleep(PAUSE)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        yield {"TLKIT_WEIGHTS_URL": f"http://127.0.0.1:{running.server_port}", "LOOPBACK_MD5": digest}
        running.shutdown()
        thread.join()
