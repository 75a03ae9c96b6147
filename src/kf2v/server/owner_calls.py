"""The owner's calls about keys and workspaces, through the back door: no key is asked and no right is missing."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kf2v.admission import workspaces as spaces
from kf2v.admission.keys import Keys, shown
from kf2v.admission.workspaces import Workspaces
from kf2v.errors import InvalidParameter, NotFound
from kf2v.store import Key
from kf2v.wire import backstage as wire
from kf2v.wire.keys import KeyWish, NewKey, NewWorkspace, parse


class OwnerCalls:
    """Makes, lists, changes and ends what any account has."""

    def __init__(self, keys: Keys, workspaces: Workspaces) -> None:
        self._keys = keys
        self._workspaces = workspaces

    def routes(self) -> list[Route]:
        keys = self._keys
        return [
            Route("/keys", self.create_key, methods=["POST"]),
            Route("/keys", self.list_keys, methods=["GET"]),
            Route("/keys/{id}", self.change_key, methods=["POST"]),
            Route("/keys/{id}/rotate", self.rotate_key, methods=["POST"]),
            Route("/keys/{id}/disable", _on_one(lambda key_id: keys.switch(key_id, on=False)), methods=["POST"]),
            Route("/keys/{id}/enable", _on_one(lambda key_id: keys.switch(key_id, on=True)), methods=["POST"]),
            Route("/keys/{id}/revoke", _on_one(keys.revoke), methods=["POST"]),
            Route("/workspaces", self.create_workspace, methods=["POST"]),
            Route("/workspaces", self.list_workspaces, methods=["GET"]),
            Route("/workspaces/{id}", self.remove_workspace, methods=["DELETE"]),
        ]

    async def create_key(self, request: Request) -> Response:
        wish = parse(NewKey, await request.body())
        key, secret = await self._keys.create(_account(wish.account), wish)
        return _answer(shown(key, secret))

    async def list_keys(self, request: Request) -> Response:
        del request
        return _answer([shown(key) for key in await self._keys.list()])

    async def change_key(self, request: Request) -> Response:
        key_id = request.path_params["id"]
        return _key(key_id, await self._keys.change(key_id, parse(KeyWish, await request.body())))

    async def rotate_key(self, request: Request) -> Response:
        key_id = request.path_params["id"]
        key, secret = await self._keys.rotate(key_id) or (None, None)
        return _key(key_id, key, secret)

    async def create_workspace(self, request: Request) -> Response:
        wish = parse(NewWorkspace, await request.body())
        return _answer(spaces.shown(await self._workspaces.create(_account(wish.account), wish)))

    async def list_workspaces(self, request: Request) -> Response:
        del request
        return _answer([spaces.shown(workspace) for workspace in await self._workspaces.list()])

    async def remove_workspace(self, request: Request) -> Response:
        workspace_id = request.path_params["id"]
        if not await self._workspaces.remove(workspace_id):
            raise NotFound(f"There is no workspace {workspace_id}.")
        return _answer(True)


def _on_one(act: Callable[[str], Awaitable[Key | None]]) -> Callable[[Request], Awaitable[Response]]:
    async def acted(request: Request) -> Response:
        key_id = request.path_params["id"]
        return _key(key_id, await act(key_id))

    return acted


def _account(name: str | None) -> str:
    if name is None:
        raise InvalidParameter('Required parameter "account" missing from request.')
    return name


def _key(key_id: str, key: Key | None, secret: str | None = None) -> Response:
    if key is None:
        raise NotFound(f"There is no key {key_id}, or it is revoked.")
    return _answer(shown(key, secret))


def _answer(message: object) -> Response:
    return Response(wire.render(message), media_type="application/json")
