"""Keys: shown once, kept as keyed hashes, and good for what they were made for."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from kf2v.admission.keys import OWNER, REMEMBERED, Caller, Keys, Scope, shown
from kf2v.admission.workspaces import Workspaces
from kf2v.catalog.regions import REGIONS
from kf2v.clock import SECOND, ManualClock
from kf2v.errors import AccessDenied, ApiError, InvalidApiKey, InvalidParameter, NoApiKey, Unavailable
from kf2v.store import Key
from kf2v.store.memory import MemoryStore
from kf2v.wire.keys import KeyWish, NewWorkspace

T = TypeVar("T")


@dataclass
class Ring:
    """Keys over a store that counts how often it is asked for one."""

    store: "Counting"
    clock: ManualClock
    keys: Keys
    workspaces: Workspaces

    def caller(self, secret: str) -> Caller:
        return run(self.keys.identify(f"Bearer {secret}"))

    def refused(self, secret: str) -> str:
        with pytest.raises(InvalidApiKey) as told:
            self.caller(secret)
        return told.value.message


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.full = False
        self.written: list[dict[str, int]] = []

    async def key_by_digest(self, digest: str) -> Key | None:
        self.asked += 1
        return await super().key_by_digest(digest)

    async def touch_keys(self, used) -> None:  # type: ignore[no-untyped-def]
        if self.full:
            raise Unavailable
        self.written.append(dict(used))
        await super().touch_keys(used)


def run(work: Awaitable[T]) -> T:
    async def waiting() -> T:
        return await work

    return asyncio.run(waiting())


def ring_in(region: str = "all", secret: bytes = b"s") -> Ring:
    store, clock = Counting(), ManualClock()
    return Ring(
        store=store,
        clock=clock,
        keys=Keys(store, secret=secret, clock=clock, region=REGIONS[region]),
        workspaces=Workspaces(store, clock=clock),
    )


@pytest.fixture
def ring() -> Ring:
    return ring_in()


def manager(ring: Ring, wish: KeyWish = KeyWish(), account: str = "ann") -> Caller:
    """A caller that may manage keys, and whatever else ``wish`` says."""
    from dataclasses import replace

    scopes = wish.scopes or ("create", "read", "cancel", "manage")
    return ring.caller(run(ring.keys.create(account, replace(wish, scopes=scopes)))[1])


def test_a_new_key_looks_like_the_vendors_and_names_its_account(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    assert re.fullmatch(r"sk-[0-9a-f]{32}", secret)
    caller = ring.caller(secret)
    assert (caller.account, caller.key_id) == ("ann", row.id)
    assert row.hint == secret[-4:]


def test_the_row_does_not_hold_the_key_and_depends_on_the_secret() -> None:
    first, second = (run(ring_in(secret=secret).keys.ensure("sk-same", "a")) for secret in (b"1", b"2"))
    assert "sk-same" not in repr(first)
    assert first.digest != second.digest


def test_ensuring_a_key_twice_keeps_the_first(ring: Ring) -> None:
    first, second = run(ring.keys.ensure("sk-mine", "a")), run(ring.keys.ensure("sk-mine", "b"))
    assert first == second
    assert len(run(ring.keys.list())) == 1


def test_an_owners_key_from_before_there_were_rights_gets_them_and_one_that_was_narrowed_stays(ring: Ring) -> None:
    old = run(ring.keys.ensure("sk-mine", "a"))
    assert run(ring.keys.ensure("sk-mine", "a", OWNER)).rights == OWNER
    run(ring.keys.change(old.id, KeyWish(scopes=("read",))))
    assert run(ring.keys.ensure("sk-mine", "a", OWNER)).rights.scopes == {"read"}


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer  {} ", "{}"])
def test_the_scheme_is_read_kindly(ring: Ring, header: str) -> None:
    _, secret = run(ring.keys.create("ann"))
    assert run(ring.keys.identify(header.format(secret))).account == "ann"


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer "])
def test_nothing_is_no_key(ring: Ring, header: str | None) -> None:
    with pytest.raises(NoApiKey):
        run(ring.keys.identify(header))


@pytest.mark.parametrize(
    "header", ["Bearer sk-x", "Basic dXNlcjpwYXNz", "Bearer \udcff", "Bearer a b", "Bearer st-", "Bearer st-é"]
)
def test_anything_else_is_a_wrong_key(ring: Ring, header: str) -> None:
    with pytest.raises(InvalidApiKey):
        run(ring.keys.identify(header))


def test_a_poll_asks_the_store_once_and_a_change_once_more(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    for _ in range(5):
        ring.caller(secret)
    assert ring.store.asked == 1
    run(ring.keys.change(row.id, KeyWish(priority=1)))
    assert ring.caller(secret).rights.priority == 1
    assert ring.store.asked == 2


def test_what_is_remembered_has_a_bound(ring: Ring) -> None:
    _, secret = run(ring.keys.create("ann"))

    async def many() -> None:
        for count in range(REMEMBERED + 1):
            await ring.keys.identify(f"Bearer {' ' * count}{secret}")

    run(many())
    assert len(ring.keys._callers) <= REMEMBERED


def test_a_revoked_key_is_a_wrong_key_and_is_revoked_once(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    ring.caller(secret)
    assert run(ring.keys.revoke(row.id))
    assert run(ring.keys.revoke(row.id)) is None
    assert run(ring.keys.revoke("nobody")) is None
    assert ring.refused(secret) == "Invalid API-key provided."
    assert run(ring.keys.switch(row.id, on=True)) is None, "gone for good"


def test_a_key_that_is_switched_off_is_refused_until_it_is_on_again(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    ring.caller(secret)
    run(ring.keys.switch(row.id, on=False))
    assert "switched off" in ring.refused(secret)
    run(ring.keys.switch(row.id, on=True))
    assert ring.caller(secret).key_id == row.id


def test_a_key_ends_at_its_time_remembered_or_not(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann", KeyWish(expires_in=10)))
    ring.clock.advance(9_999)
    ring.caller(secret)
    ring.clock.advance(1)
    assert "expired" in ring.refused(secret)
    run(ring.keys.change(row.id, KeyWish(expires_in=0)))
    assert ring.caller(secret).expires_at is None


def test_a_rotated_key_has_a_new_secret_and_the_old_one_never_comes_back(ring: Ring) -> None:
    row = run(ring.keys.ensure("sk-first", "ann", OWNER))
    ring.caller("sk-first")
    made = run(ring.keys.rotate(row.id))
    assert made is not None
    assert (made[0].id, made[0].rights) == (row.id, row.rights)
    assert ring.caller(made[1]).key_id == row.id
    ring.refused("sk-first")
    run(ring.keys.ensure("sk-first", "ann", OWNER))
    ring.refused("sk-first")


@pytest.mark.parametrize(
    ("served", "bound", "works"),
    [
        ("all", None, "all"),
        ("all", "beijing", "beijing"),
        ("singapore", None, "singapore"),
        ("singapore", "singapore", "singapore"),
        ("singapore", "beijing", None),
        ("beijing", "singapore", None),
    ],
)
def test_a_key_works_in_its_region_and_is_unknown_in_another(served: str, bound: str | None, works: str | None) -> None:
    ring = ring_in(served)
    _, secret = run(ring.keys.create("ann", KeyWish(region=bound)))
    if works is None:
        assert ring.refused(secret) == "Invalid API-key provided."
    else:
        assert ring.caller(secret).region == REGIONS[works]


def test_a_use_is_seen_at_once_and_written_when_it_is_time(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    for _ in range(3):
        ring.caller(secret)
    assert ring.store.written == []
    assert run(ring.keys.list())[0].used_at == ring.clock.now()
    run(ring.keys.write_uses())
    run(ring.keys.write_uses())
    assert ring.store.written == [{row.id: ring.clock.now()}]


def test_a_use_that_could_not_be_written_is_written_the_next_time(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    ring.caller(secret)
    ring.store.full = True
    with pytest.raises(Unavailable):
        run(ring.keys.write_uses())
    ring.store.full = False
    run(ring.keys.write_uses())
    assert ring.store.written == [{row.id: ring.clock.now()}]


def test_a_temporary_key_may_what_its_parent_may_until_it_ends(ring: Ring) -> None:
    _, secret = run(ring.keys.create("ann", KeyWish(scopes=("read",), priority=2)))
    parent = ring.caller(secret)
    token, ends = ring.keys.temporary(parent, seconds=60)
    assert token.startswith("st-")
    assert secret not in token
    child = ring.caller(token)
    assert (child.account, child.key_id, child.rights) == (parent.account, parent.key_id, parent.rights)
    assert child.temporary
    ring.clock.advance(ends * SECOND - ring.clock.now() - 1)
    ring.caller(token)
    ring.clock.advance(1)
    ring.refused(token)


@pytest.mark.parametrize("end", ["revoke", "disable", "rotate", "expire"])
def test_a_temporary_key_ends_with_its_parent(ring: Ring, end: str) -> None:
    row, secret = run(ring.keys.create("ann", KeyWish(expires_in=30)))
    token, ends = ring.keys.temporary(ring.caller(secret), seconds=1800)
    assert ends <= ring.clock.now() // SECOND + 30
    ring.caller(token)
    match end:
        case "revoke":
            run(ring.keys.revoke(row.id))
        case "disable":
            run(ring.keys.switch(row.id, on=False))
        case "rotate":
            run(ring.keys.rotate(row.id))
        case _:
            ring.clock.advance(30 * SECOND)
    ring.refused(token)


def test_a_temporary_key_of_another_deployment_or_with_another_end_is_none(ring: Ring) -> None:
    _, secret = run(ring.keys.create("ann"))
    token, _ = ring.keys.temporary(ring.caller(secret), seconds=60)
    other = ring_in(secret=b"another")
    run(other.keys.ensure(secret, "ann"))
    other.refused(token)
    for place in range(3, len(token)):
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        ring.refused(forged)


def test_a_temporary_key_makes_no_further_ones(ring: Ring) -> None:
    _, secret = run(ring.keys.create("ann"))
    token, _ = ring.keys.temporary(ring.caller(secret), seconds=60)
    with pytest.raises(AccessDenied, match="temporary"):
        ring.caller(token).require_lasting()


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (KeyWish(label="a\nb"), "label"),
        (KeyWish(label="x" * 65), "label"),
        (KeyWish(scopes=("everything",)), "scopes"),
        (KeyWish(models=("wan9",)), "models"),
        (KeyWish(networks=("192.0.2.7/24",)), "networks"),
        (KeyWish(networks=("here",)), "networks"),
        (KeyWish(networks=tuple(f"192.0.2.{n}" for n in range(21))), "networks"),
        (KeyWish(region="mars"), "region"),
        (KeyWish(region="all"), "region"),
        (KeyWish(workspace="llm-none"), "workspace"),
        (KeyWish(priority=101), "priority"),
        (KeyWish(expires_in=-1), "expires_in"),
        (KeyWish(expires_in=10**12), "expires_in"),
    ],
)
def test_a_wish_that_makes_no_sense_names_its_field(ring: Ring, wish: KeyWish, field: str) -> None:
    row, _ = run(ring.keys.create("ann"))
    with pytest.raises(InvalidParameter, match=rf"\b{field}, but got"):
        run(ring.keys.create("ann", wish))
    with pytest.raises(InvalidParameter, match=rf"\b{field}, but got"):
        run(ring.keys.change(row.id, wish))
    assert run(ring.keys.list()) == (row,)


@pytest.mark.parametrize("account", ["", " ", " a", "a\tb", "x" * 65])
def test_an_account_has_a_name(ring: Ring, account: str) -> None:
    with pytest.raises(InvalidParameter):
        run(ring.keys.create(account))


def test_ipv4_in_ipv6s_clothes_is_ipv4_as_the_addresses_are(ring: Ring) -> None:
    networks = ("::ffff:192.0.2.7", "::ffff:10.0.0.0/104", "::/0", "192.0.2.7")
    row, _ = run(ring.keys.create("ann", KeyWish(networks=networks)))
    assert row.rights.networks == ("192.0.2.7/32", "10.0.0.0/8", "::/0")


def test_what_a_wish_does_not_name_stays_and_what_is_empty_goes(ring: Ring) -> None:
    run(ring.workspaces.create("ann", NewWorkspace(id="llm-1")))
    full = KeyWish(
        label="the shop",
        scopes=("read",),
        models=("wan2.2-kf2v-flash",),
        networks=("192.0.2.0/24", "2001:db8::1"),
        region="beijing",
        workspace="llm-1",
        priority=4,
        expires_in=60,
    )
    row, _ = run(ring.keys.create("ann", full))
    told = shown(row)
    assert told.networks == ("192.0.2.0/24", "2001:db8::1/128")
    assert run(ring.keys.change(row.id, KeyWish())) == row
    empty = KeyWish(label="", scopes=(), models=(), networks=(), region="", workspace="", priority=0, expires_in=0)
    changed = run(ring.keys.change(row.id, empty))
    assert changed is not None
    bare = shown(changed)
    assert bare.scopes == ("create", "read", "cancel")
    assert (bare.label, bare.models, bare.networks, bare.region, bare.workspace) == ("", (), (), None, None)
    assert (bare.priority, bare.expires_at) == (0, None)


BEYOND = [
    (KeyWish(), KeyWish(scopes=("admin",))),
    (KeyWish(scopes=("manage", "read")), KeyWish(scopes=("read", "cancel"))),
    (KeyWish(scopes=("manage", "read")), KeyWish()),
    (KeyWish(models=("wan2.1-kf2v-plus",)), KeyWish()),
    (KeyWish(models=("wan2.1-kf2v-plus",)), KeyWish(models=("wan2.2-kf2v-flash",))),
    (KeyWish(networks=("192.0.2.0/25",)), KeyWish()),
    (KeyWish(networks=("192.0.2.0/25",)), KeyWish(networks=("192.0.2.0/24",))),
    (KeyWish(networks=("192.0.2.0/25",)), KeyWish(networks=("2001:db8::/32",))),
    (KeyWish(region="beijing"), KeyWish()),
    (KeyWish(region="beijing"), KeyWish(region="singapore")),
    (KeyWish(priority=1), KeyWish(priority=2)),
    (KeyWish(priority=-1), KeyWish()),
    (KeyWish(expires_in=60), KeyWish()),
    (KeyWish(expires_in=60), KeyWish(expires_in=61)),
]


@pytest.mark.parametrize(("own", "wish"), BEYOND)
def test_a_manager_gives_no_more_than_it_has(ring: Ring, own: KeyWish, wish: KeyWish) -> None:
    by = manager(ring, own)
    before = run(ring.keys.list())
    with pytest.raises(AccessDenied, match="what it does not have"):
        run(ring.keys.create("ann", wish, by=by))
    assert run(ring.keys.list()) == before


@pytest.mark.parametrize(("own", "wish"), BEYOND)
def test_a_manager_lays_no_hand_on_a_key_that_may_more(ring: Ring, own: KeyWish, wish: KeyWish) -> None:
    by = manager(ring, own)
    row, secret = run(ring.keys.create("ann", wish))
    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: ring.keys.rotate(row.id, by=by),
        lambda: ring.keys.revoke(row.id, by=by),
        lambda: ring.keys.switch(row.id, on=False, by=by),
        lambda: ring.keys.change(row.id, KeyWish(label="mine"), by=by),
    ]
    for act in acts:
        with pytest.raises(AccessDenied):
            run(act())
    assert ring.caller(secret).rights == row.rights


def test_a_manager_gives_what_it_has_and_narrower(ring: Ring) -> None:
    by = manager(ring, KeyWish(models=("wan2.1-kf2v-plus",), networks=("192.0.2.0/24",), priority=2, expires_in=60))
    narrower = KeyWish(models=("wanx2.1-kf2v-plus",), networks=("192.0.2.0/25", "192.0.2.200"), expires_in=60)
    row, _ = run(ring.keys.create("ann", narrower, by=by))
    with pytest.raises(AccessDenied):
        run(ring.keys.change(row.id, KeyWish(priority=3), by=by))
    assert run(ring.keys.change(row.id, KeyWish(priority=2), by=by))
    assert run(ring.keys.rotate(row.id, by=by))
    assert run(ring.keys.revoke(row.id, by=by))


def test_a_manager_does_not_widen_itself(ring: Ring) -> None:
    by = manager(ring, KeyWish(expires_in=60))
    with pytest.raises(AccessDenied):
        run(ring.keys.change(by.key_id, KeyWish(expires_in=0), by=by))
    assert run(ring.keys.change(by.key_id, KeyWish(scopes=("manage",)), by=by))


def test_another_accounts_keys_are_as_if_they_were_not_there(ring: Ring) -> None:
    by = manager(ring)
    row, _ = run(ring.keys.create("bob"))
    assert run(ring.keys.rotate(row.id, by=by)) is None
    assert run(ring.keys.revoke(row.id, by=by)) is None
    assert run(ring.keys.change(row.id, KeyWish(workspace="llm-none"), by=by)) is None
    with pytest.raises(AccessDenied):
        run(ring.keys.create("bob", by=by))


def test_who_may_everything_manages_every_account(ring: Ring) -> None:
    by = manager(ring, KeyWish(scopes=tuple(Scope)))
    row, _ = run(ring.keys.create("bob", by=by))
    assert run(ring.keys.revoke(row.id, by=by))


def test_who_may_everything_says_whose_turn_comes_first(ring: Ring) -> None:
    by = manager(ring, KeyWish(scopes=tuple(Scope)))
    row, _ = run(ring.keys.create("bob", KeyWish(priority=2), by=by))
    higher = run(ring.keys.change(row.id, KeyWish(priority=3), by=by))
    assert higher is not None
    assert higher.rights.priority == 3
    assert run(ring.keys.revoke(row.id, by=by))


def test_errors_of_a_change_leave_the_store_usable(ring: Ring) -> None:
    row, secret = run(ring.keys.create("ann"))
    with pytest.raises(ApiError):
        run(ring.keys.change(row.id, KeyWish(region="mars")))
    assert ring.caller(secret).key_id == row.id
