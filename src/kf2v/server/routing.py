"""From method and path to a handler.

Both slash forms of a path are the same path: redirects lose the caller's key. A path that exists with other methods
is 405, every other one 404, both in the API's own shape.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kf2v.errors import MethodNotAllowed, NotFound
from kf2v.server.exchange import Handler


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    #: with ``{name}`` for a part that is open; an open part takes anything but a slash
    path: str
    handler: Handler
    #: whether asking by GET changes something, so that HEAD must not ask
    acts: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    handler: Handler
    #: the route's own path, for metrics
    path: str
    parts: Mapping[str, str]


class WrongMethod(MethodNotAllowed):
    """A 405 that knows which methods would do."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"Request method '{method[:20]}' is not supported.")
        self.allowed = ", ".join(allowed)


class Routes:
    """A table of routes, fixed paths found by look-up and open ones by pattern."""

    def __init__(self, table: Sequence[Route]) -> None:
        #: as given
        self.table = tuple(table)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in table:
            if "{" not in route.path:
                self._fixed.setdefault(route.path, {})[route.method] = route
                continue
            if route.path not in self._open:
                self._open[route.path] = (_pattern(route.path), {})
            self._open[route.path][1][route.method] = route

    def find(self, method: str, path: str) -> Found:
        """Raises NotFound or WrongMethod."""
        if len(path) > 1 and path.endswith("/"):
            path = path[:-1]
        methods = self._fixed.get(path)
        if methods is not None:
            return self._choose(methods, method, {})
        for pattern, methods in self._open.values():
            match = pattern.fullmatch(path)
            if match is not None:
                return self._choose(methods, method, match.groupdict())
        raise NotFound("Request path not found.")

    def _choose(self, methods: Mapping[str, Route], method: str, parts: Mapping[str, str]) -> Found:
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None or (method == "HEAD" and route.acts):
            raise WrongMethod(method, sorted(methods))
        return Found(route.handler, route.path, parts)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join(f"(?P<{p[1:-1]}>[^/]+)" if p[:1] == "{" else re.escape(p) for p in _parts(path)))


def _parts(path: str) -> list[str]:
    return re.split(r"(\{\w+\})", path)
