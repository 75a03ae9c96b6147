"""Pictures, drawn not bought, and a web host that shows them."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

#: colours that survive a video's colour space and stay apart in it: red, green, blue
WARM, COLD = (200, 80, 40), (40, 90, 200)


@cache
def picture(colour: tuple[int, int, int] = WARM, *, width: int = 832, height: int = 480, kind: str = "PNG") -> bytes:
    """A file of one colour with a lighter disc in the middle."""
    ys, xs = np.mgrid[:height, :width]
    disc = (ys - height / 2) ** 2 + (xs - width / 2) ** 2 < (min(width, height) / 4) ** 2
    pixels = np.where(disc[..., None], np.array(colour) // 2 + 120, np.array(colour)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


#: what hangs where: the path's end decides
ROOMS = {
    "first_frame.png": picture(WARM),
    "last_frame.png": picture(COLD),
    "wan-kf2v-blue-1.png": picture(WARM),
    "wan-kf2v-blue-2.png": picture(COLD),
}


class _Visit(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = ROOMS.get(self.path.rpartition("/")[2])
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "image/png" if body else "text/plain")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def open_gallery() -> Iterator[str]:
    """``http://127.0.0.1:<port>`` of a host with the pictures of ``ROOMS`` under any folder."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), _Visit)
    host.daemon_threads = True
    keeper = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    keeper.start()
    try:
        yield f"http://127.0.0.1:{host.server_address[1]}"
    finally:
        host.shutdown()
        keeper.join()
        host.server_close()
