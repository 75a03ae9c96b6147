"""A hub of our own: real HTTP, the part of the hub's API that downloading needs, and faults on request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    files: dict[str, bytes]
    licence: str = "apache-2.0"
    gated: bool = False


@dataclass
class Hub:
    """What it holds, what it was asked, and what shall go wrong."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    #: (method, path, Range header)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    #: bytes after which the connection of a file breaks, used up one by one
    breaks: dict[str, list[int]] = field(default_factory=dict)
    #: sizes that are told instead of the true ones
    claimed: dict[str, int] = field(default_factory=dict)
    #: files about which nothing is answered: the connection just ends
    silent: set[str] = field(default_factory=set)
    #: an HTTP status for everything
    down: int = 0
    url: str = ""

    def hold(self, name: str, folder: Path, **facts: bool) -> None:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[name] = Repository(files=files, **facts)

    def ranges(self, file: str) -> list[str]:
        """What was asked of a file's content, call by call."""
        return [span for method, path, span in self.asked if method == "GET" and path.endswith(file)]


@contextlib.contextmanager
def open_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            if any(path.endswith(file) for file in hub.silent):
                self.close_connection = True
            elif hub.down:
                self._give(hub.down, b"{}")
            elif path.startswith("api/models/"):
                self._api(path.removeprefix("api/models/"))
            else:
                self._file(path)

        def _repository(self, path: str) -> tuple[str, Repository | None, str]:
            name = "/".join(path.split("/")[:2])
            return name, hub.repositories.get(name), path.removeprefix(name).strip("/")

        def _api(self, path: str) -> None:
            name, repository, rest = self._repository(path)
            if repository is None:
                return self._give(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if rest.startswith("tree/"):
                return self._give(200, json.dumps([self._entry(name, p) for p in repository.files]).encode())
            told = {
                "id": name,
                "modelId": name,
                "sha": COMMIT,
                "siblings": [{"rfilename": path} for path in repository.files],
                "cardData": {"license": repository.licence} if repository.licence else {},
                "tags": [],
            }
            return self._give(200, json.dumps(told).encode())

        def _entry(self, name: str, path: str) -> dict[str, object]:
            content = hub.repositories[name].files[path]
            size = hub.claimed.get(path, len(content))
            entry: dict[str, object] = {
                "type": "file",
                "path": path,
                "size": size,
                "oid": hashlib.sha1(content).hexdigest(),
            }
            if path.endswith(".safetensors"):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
            return entry

        def _file(self, path: str) -> None:
            _, repository, rest = self._repository(path)
            if repository is None:
                return self._give(404, b"", {"X-Error-Code": "RepoNotFound"})
            if repository.gated and "Bearer" not in self.headers.get("Authorization", ""):
                return self._give(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
            file = rest.removeprefix(f"resolve/{COMMIT}/").removeprefix("resolve/main/")
            if file not in repository.files:
                return self._give(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return self._content(file, repository.files[file])

        def _content(self, file: str, content: bytes) -> None:
            digest = hashlib.sha256 if file.endswith(".safetensors") else hashlib.sha1
            facts = {"ETag": f'"{digest(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            span = self.headers.get("Range", "")
            begin = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
            if span:
                facts["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            limit = hub.breaks[file].pop(0) if self.command == "GET" and hub.breaks.get(file) else None
            return self._give(206 if span else 200, content[begin:], facts, limit)

        def _give(
            self, status: int, body: bytes, facts: dict[str, str] | None = None, limit: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(facts or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body if limit is None else body[:limit])
            if limit is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
