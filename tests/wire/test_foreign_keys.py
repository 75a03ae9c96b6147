"""No key reads, cancels, lists or downloads what belongs to another account.

The walk is over the server's own table of routes, so that a route added later is walked too. Every open part of a path
is filled with what the victim has; a part that nobody here has a filling for fails the walk, and so does a filling
that leads nowhere for the victim himself.

Three kinds of paths ask for no key, because what they are asked with is the right itself: signed links to videos
(``/results``), signed upload policies (``/uploads``), and what operators look at. A signed link is shown to its account
alone, which the walk holds too: nobody else's answer carries it.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from house import CREATE, House, build, picture, submission
from kf2v.admission.keys import Scope
from kf2v.assembly.doors import routes_of
from kf2v.assembly.front import build_front
from kf2v.blobs.memory import MemoryBlobs
from kf2v.clock import ManualClock
from kf2v.server.routing import Route
from kf2v.settings import Settings
from kf2v.store import Webhook
from kf2v.store.memory import MemoryStore
from kf2v.wire.keys import KeyWish, NewWorkspace
from service import CREATE_2X

#: everything that the victim writes has it, so that an answer that has it tells of the victim
MARK = "victims0wn"
#: an id of every kind that nobody has
NOBODYS = "deadbeef-0000-4000-8000-000000000000"
#: who asks without any key, and why that is right
OPEN = {
    "/results/{name}": "the signature in the link is the right",
    "/uploads": "the signature in the policy is the right",
    "/healthz": "says how the server is",
    "/readyz": "says how the server is",
    "/metrics": "counts, and names nobody",
    "/openapi.json": "is published",
}
#: seconds after which an answer that goes on, as a stream of events does, is taken as it is
ENOUGH = 0.3
#: no two answers of these are alike, nor of those that make something
NEVER_ALIKE = ("/api/v1/uploads", "/kf2v/v1/events")
EVERYTHING_OF_AN_ACCOUNT = ("create", "read", "cancel", "manage")
#: what may be asked of a route without open parts, so that it tells most
QUERY = "action=getPolicy&model=wan2.2-kf2v-flash&page_size=100&group_by=day,key,workspace"
#: and by what of somebody it can be asked about him
NAMING = ("account={account}", "api_key_id={key}", "task_id={task}", "account={account}&api_key_id={key}")
#: what is said to routes that want to be told something; the others are sent an empty object
BODIES: dict[str, Any] = {path: submission() for path in (CREATE, CREATE_2X)} | {
    "/kf2v/v1/chains": submission(input__frames=[f"https://example.com/{n}.png" for n in range(3)]),
    "/kf2v/v1/keys": {"account": MARK},
    "/kf2v/v1/workspaces": {"account": MARK},
    "/kf2v/v1/webhooks": {"account": MARK, "url": "https://example.com/hook"},
}


@dataclass(frozen=True, kw_only=True)
class Victim:
    """An account with one of everything."""

    house: House
    key: str
    #: of another account, with every scope an account can have
    foreign_key: str
    #: by name of a route's open part, what the victim has of it
    belongings: dict[str, list[str]]
    #: tasks ordered while somebody listened
    later: list[str] = field(default_factory=list[str])


def settings() -> Settings:
    return Settings(data_dir=Path.cwd(), engine="still", workers=0)


def routes() -> list[Route]:
    front = build_front(
        settings(),
        store=MemoryStore(),
        blobs=MemoryBlobs(),
        clock=ManualClock(),
        secret=b"s" * 32,
        workers_alive=lambda: 0,
    )
    return list(routes_of(front).table)


ROUTES = [route for route in routes() if route.path not in OPEN]
TELLING = [pytest.param(route, id=f"{route.method} {route.path}") for route in ROUTES]
WITH_PARTS = [pytest.param(route, id=f"{route.method} {route.path}") for route in ROUTES if "{" in route.path]
WITHOUT_PARTS = [pytest.param(route, id=f"{route.method} {route.path}") for route in ROUTES if "{" not in route.path]


@pytest.fixture
def victim() -> Iterator[Victim]:
    with asyncio.Runner() as runner:
        house = runner.run(build(runner, settings()))
        yield furnished(house)
        runner.run(house.client.aclose())


def furnished(house: House) -> Victim:
    own, secret = house.run(
        house.front.keys.create(MARK, KeyWish(label=f"key {MARK}", scopes=EVERYTHING_OF_AN_ACCOUNT))
    )
    spare, _ = house.run(house.front.keys.create(MARK, KeyWish(label=f"spare key {MARK}")))
    _, foreign = house.run(house.front.keys.create("stranger", KeyWish(scopes=EVERYTHING_OF_AN_ACCOUNT)))
    space = house.run(house.front.workspaces.create(MARK, NewWorkspace(id=f"llm-{MARK}", label=MARK)))
    webhook = Webhook(
        id=f"wh-{MARK}", account=MARK, url=f"https://example.com/{MARK}", secret="whsec_c2VjcmV0", created_at=1
    )
    house.run(house.store.put_webhook(webhook))
    body = submission(input__prompt=f"a cat, {MARK}", input__negative_prompt=MARK)
    done, failed, running, waiting = (house.created(body, key=secret) for _ in range(4))
    house.finish(done, actual_prompt=f"a cat walks, {MARK}", data=MARK.encode())
    house.fail(failed, message=MARK)
    attempt = house.start(running)
    house.blobs.put(f"previews/{running}/{attempt}-0.jpg", MARK.encode())
    house.run(house.store.note(done, f"a note, {MARK}", now=house.clock.now()))
    deliveries = house.run(house.store.deliveries(MARK))
    return Victim(
        house=house,
        key=secret,
        foreign_key=foreign,
        belongings={
            "task_id": [done, failed, running, waiting],
            "key_id": [spare.id, own.id],
            "workspace_id": [space.id],
            "webhook_id": [webhook.id],
            "delivery_id": [delivery.id for delivery in deliveries],
            "number": ["0"],
        },
    )


def filled(route: Route, victim: Victim, *, nobodys: bool = False) -> list[str]:
    """The route's path with the victim's ids in it, or with ids that nobody has."""
    paths = [route.path]
    for part in re.findall(r"\{(\w+)\}", route.path):
        assert part in victim.belongings, (
            f"{route.method} {route.path} is new here: say in ``furnished`` what a victim has as {{{part}}}"
        )
        assert victim.belongings[part], f"the victim has no {part}"
        values = [NOBODYS] if nobodys and part.endswith("_id") else victim.belongings[part]
        paths = [path.replace(f"{{{part}}}", value) for path in paths for value in values]
    return paths


@dataclass(frozen=True, kw_only=True)
class Heard:
    status: int
    body: bytes

    def without(self, *ids: str) -> tuple[int, str]:
        """The answer without what differs between any two requests, and without ``ids``."""
        text = re.sub(r'"request_id":"[^"]*"', "", self.body.decode("utf-8", "replace"))
        for one in ids:
            text = text.replace(one, "ID")
        return self.status, text


def ask(victim: Victim, route: Route, path: str, key: str, query: str = "") -> Heard:
    """One request, in this process. While an answer goes on without an end the victim orders something; then it is
    left."""
    body = json.dumps(BODIES.get(route.path, {})).encode()
    return victim.house.run(_asked(victim, route.method, path, key, query, body))


async def _asked(victim: Victim, method: str, path: str, key: str, query: str, body: bytes) -> Heard:
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"x-dashscope-async", b"enable"), (b"host", b"kf2v.test")]
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("kf2v.test", 80),
        "scheme": "http",
    }
    sent: list[Any] = []
    left = asyncio.Event()
    bodies = [{"type": "http.request", "body": body if method != "GET" else b"", "more_body": False}]

    async def receive() -> Any:
        if bodies:
            return bodies.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    answering = asyncio.create_task(victim.house.app(scope, receive, send))
    await asyncio.wait({answering}, timeout=ENOUGH)
    if not answering.done():
        mine = {"Authorization": f"Bearer {victim.key}", "X-DashScope-Async": "enable"}
        made = await victim.house.client.post(CREATE, json=submission(input__prompt=MARK), headers=mine)
        victim.later.append(made.json()["output"]["task_id"])
        await asyncio.wait({answering}, timeout=ENOUGH)
    left.set()
    await asyncio.wait({answering}, timeout=ENOUGH)
    if not answering.done():
        answering.cancel()
        await asyncio.wait({answering})
    assert sent, f"{method} {path} was not answered"
    return Heard(status=sent[0]["status"], body=b"".join(part.get("body", b"") for part in sent[1:]))


def belongings(victim: Victim) -> Any:
    """All that the victim has, as the store keeps it."""
    house, store = victim.house, victim.house.store
    tasks = [house.run(store.get(task_id)) for task_id in victim.belongings["task_id"]]
    keys = [key for key in house.run(store.keys()) if key.account == MARK]
    rest = [house.run(listing(MARK)) for listing in (store.workspaces, store.webhooks, store.deliveries)]
    notes = [house.run(store.notes(task_id)) for task_id in victim.belongings["task_id"]]
    return tasks, keys, rest, notes, sorted(blob.key for blob in house.blobs.walk(""))


def assert_tells_nothing(heard: Heard, victim: Victim, path: str) -> None:
    text = heard.body.decode("utf-8", "replace")
    assert "Signature=" not in text, text
    for one in path.split("/"):
        text = text.replace(one, "")  # what the stranger said himself
    assert MARK not in text, text
    for ids in (victim.later, *(ids for part, ids in victim.belongings.items() if part.endswith("_id"))):
        assert not [one for one in ids if one in text], text


@pytest.mark.parametrize("route", WITH_PARTS)
def test_what_is_anothers_answers_as_if_it_were_not_there(victim: Victim, route: Route) -> None:
    [nothing, *_] = filled(route, victim, nobodys=True)
    missing = ask(victim, route, nothing, victim.foreign_key).without(NOBODYS)
    before = belongings(victim)
    for path in filled(route, victim):
        heard = ask(victim, route, path, victim.foreign_key)
        ids = [one for ids in victim.belongings.values() for one in ids if one in path and len(one) > 3]
        assert heard.without(*ids) == missing
        assert_tells_nothing(heard, victim, path)
    assert belongings(victim) == before


@pytest.mark.parametrize("route", TELLING)
def test_no_list_and_no_answer_tells_of_another_account(victim: Victim, route: Route) -> None:
    before = belongings(victim)
    for path in filled(route, victim):
        heard = ask(victim, route, path, victim.foreign_key)
        assert heard.status < 500, heard.body
        assert_tells_nothing(heard, victim, path)
    assert belongings(victim) == before


@pytest.mark.parametrize("naming", NAMING)
@pytest.mark.parametrize("route", WITHOUT_PARTS)
def test_who_names_another_hears_what_he_would_hear_of_nobody(victim: Victim, route: Route, naming: str) -> None:
    before = belongings(victim)
    victims = {"account": MARK, "task": victim.belongings["task_id"][0], "key": victim.belongings["key_id"][-1]}
    nobodys = {"account": "nobody", "task": NOBODYS, "key": NOBODYS}
    asked = [f"{QUERY}&{naming.format(**names)}" for names in (victims, nobodys)]
    told, nothing = (ask(victim, route, route.path, victim.foreign_key, query) for query in asked)
    assert told.status < 500, told.body
    assert_tells_nothing(told, victim, "/".join(victims.values()))
    if route.method == "GET" and route.path not in NEVER_ALIKE:
        assert told.without(*victims.values()) == nothing.without(*nobodys.values())
    assert belongings(victim) == before


@pytest.mark.parametrize("route", WITH_PARTS)
def test_the_walk_leads_somewhere(victim: Victim, route: Route) -> None:
    """The same paths with the victim's own key: one of them at least is answered otherwise than nobody's."""
    [nothing, *_] = filled(route, victim, nobodys=True)
    missing = ask(victim, route, nothing, victim.key).without(NOBODYS)
    ids = [one for ids in victim.belongings.values() for one in ids if len(one) > 3]
    own = [ask(victim, route, path, victim.key).without(*ids) for path in filled(route, victim)]
    assert any(answer != missing for answer in own), missing


@pytest.mark.parametrize("route", TELLING)
def test_every_route_asks_for_a_key(victim: Victim, route: Route) -> None:
    for path in filled(route, victim):
        heard = ask(victim, route, path, "sk-nobodys")
        assert (heard.status, json.loads(heard.body)["code"]) == (401, "InvalidApiKey")


def test_the_walk_sees_what_it_must_not(victim: Victim) -> None:
    """The list of tasks, asked for by the victim, has what the walk looks for."""
    [route] = [route for route in ROUTES if (route.method, route.path) == ("GET", "/api/v1/tasks")]
    with pytest.raises(AssertionError):
        assert_tells_nothing(ask(victim, route, route.path, victim.key), victim, route.path)


def test_a_link_is_shown_to_its_account_alone_and_good_for_whoever_has_it(victim: Victim) -> None:
    house, (done, *_) = victim.house, victim.belongings["task_id"]
    link = house.query(done, key=victim.key)["output"]["video_url"]
    assert house.call("GET", link, key=None).content == MARK.encode()
    assert house.call("GET", link.replace("Signature=", "Signature=x"), key=victim.key).status_code == 403
    assert house.call("GET", f"/results/{done}.mp4", key=victim.key).status_code == 403, "a key is no link"
    assert "video_url" not in house.query(done, key=victim.foreign_key)["output"]


def test_another_accounts_upload_is_no_frame(victim: Victim) -> None:
    house = victim.house
    grant = house.call("GET", "/api/v1/uploads?action=getPolicy&model=wan2.2-kf2v-flash", key=victim.key).json()["data"]
    name = f"{grant['upload_dir']}/a.png"
    form = {"policy": grant["policy"], "Signature": grant["signature"], "key": name}
    posted = house.call("POST", "/uploads", key=None, data=form, files={"file": ("a.png", picture())})
    assert posted.status_code == 200
    body = submission(input__first_frame_url=f"oss://{name}")
    assert house.create(body, key=victim.key).status_code == 200
    refused = house.create(body, key=victim.foreign_key)
    nowhere = house.create(
        submission(input__first_frame_url=f"oss://{grant['upload_dir']}/b.png"), key=victim.foreign_key
    )
    assert refused.status_code == nowhere.status_code == 400
    assert refused.json()["message"].replace("a.png", "b.png") == nowhere.json()["message"]


def test_what_asks_for_no_key_is_known_by_name() -> None:
    """A route that asks for none has to be written down here with its reason; and what is written down exists."""
    assert set(OPEN) <= {route.path for route in routes()}


def test_an_administrator_alone_sees_every_account(victim: Victim) -> None:
    house = victim.house
    _, admin = house.run(house.front.keys.create("owner", KeyWish(scopes=tuple(Scope))))
    assert MARK in house.call("GET", "/kf2v/v1/keys?account=*", key=admin).text
    assert house.query(victim.belongings["task_id"][0], key=admin)["output"]["task_status"] == "UNKNOWN"
