"""Carries news: takes what is due, posts it, and writes down what came of it.

At least once: a delivery is on its way until it is written down that it arrived, so one whose answer is lost, or that
is cut off by the end of the server, is sent again with the same id and the same body.

A delivery that fails is tried again by ``schedule``. It is abandoned when its time is over, when its receiver says
that it is gone (410, which also switches the webhook off), when its webhook is gone or off, and when it may not be
sent at all.

A delivery that hangs costs a thread and a connection until it times out, so there are many places for those under way;
and what is due may be a hundred thousand rows, so there is a bound on what waits in memory. Both are shared out among
accounts, and within each by what is known of the receiver's host: whoever is silent takes nothing from those who
answer, and a crowd of strangers nothing from another account.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import structlog

from kf2v import daemon
from kf2v.clock import Clock
from kf2v.net.post import Answer, NeverPosted, NotPosted
from kf2v.notify import Outbox, Post
from kf2v.notify.lanes import Lane, Slots, Standing
from kf2v.notify.places import Places
from kf2v.notify.schedule import Schedule
from kf2v.notify.signature import signed
from kf2v.tasks.identity import new_id
from kf2v.tasks.news import Delivery, Webhook
from kf2v.wire.v1 import events

#: deliveries looked at in one round
BATCH = 200
#: deliveries on their way at once: a quarter of the descriptors that a process usually may open, some 35 KiB each
UNDER_WAY = 256
#: deliveries that wait in lanes
IN_LANES = 1024
#: milliseconds between two that come back because too many of their crowd wait
CROWD_SPACING = 10
#: hosts that something is remembered of, by account
REMEMBERED = 4096
#: seconds that a delivery is left alone after a try that could not be written down
UNWRITTEN = 60.0
_GONE, _TOO_MANY = 410, 429
_AGENT = "kf2v"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of one try."""

    #: None where there was no answer
    status: int | None = None
    #: what was wrong; empty if nothing
    error: str = ""
    #: see ``net.post.Answer``
    retry_after: str = ""
    text: str = ""
    #: whether no other try would end otherwise
    never: bool = False

    @property
    def well(self) -> bool:
        return not self.error

    @property
    def busy(self) -> bool:
        """Whether the receiver is there and has troubles of its own."""
        return self.status is not None and (self.status >= 500 or self.status == _TOO_MANY)


class Result(StrEnum):
    """How a try, or a delivery that was not tried any more, ended."""

    DELIVERED = "delivered"
    #: it is tried again
    FAILED = "failed"
    ABANDONED = "abandoned"


#: who shares places with each other: an account's hosts of one standing
Crowd: TypeAlias = tuple[str, Standing]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A delivery with its address as it is now."""

    delivery: Delivery
    url: str
    secret: str

    @property
    def whose(self) -> tuple[str, str]:
        """The account and the host."""
        return self.delivery.news.account, urlsplit(self.url).netloc.lower()


@dataclass(frozen=True, slots=True)
class _Waiting:
    letter: _Letter
    #: holds its place
    crowd: Crowd


_Lane: TypeAlias = Lane[_Waiting]


class Courier:
    """All methods belong to one event loop; posts are made in threads."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        clock: Clock,
        post: Post,
        account_secret: Callable[[str], str],
        count: Callable[[Result], None],
        schedule: Schedule = Schedule(),
        every: float = 1.0,
    ) -> None:
        """``account_secret`` signs what goes to callbacks; ``count`` hears of every result, once it is written down;
        ``every`` so many seconds it is looked what is due."""
        self._outbox = outbox
        self._clock = clock
        self._post = post
        self._account_secret = account_secret
        self._count = count
        self._schedule = schedule
        self._every = every
        self._bell = asyncio.Event()
        #: by account and host, so that nobody's receivers slow another's
        self._lanes: dict[tuple[str, str], _Lane] = {}
        #: those lanes where somebody waits; whose turn is next comes first
        self._turns: dict[tuple[str, str], _Lane] = {}
        self._waiting = Places[Crowd](IN_LANES)
        self._under_way = Places[Crowd](UNDER_WAY)
        self._slots: dict[Crowd, Slots] = {}
        #: ids of deliveries that wait in a lane or are on their way
        self._taken: set[str] = set()
        self._tries: set[asyncio.Task[None]] = set()
        self._ending = False

    def wake(self) -> None:
        """Look at once: something is due."""
        self._bell.set()

    async def run(self) -> None:
        """Carry what is due, round after round. Ends by being cancelled; see ``finish`` for what is under way then."""
        while True:
            self._bell.clear()
            try:
                if await self.look():
                    continue
            except Exception:
                log.exception("a round of deliveries failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._bell.wait()

    async def finish(self, seconds: float) -> None:
        """Take what is due now, then nothing more, and give what is under way so many seconds.

        What that cuts off is sent again after the next start.
        """
        if not self._ending:
            with contextlib.suppress(Exception):
                await self.look()
        self._ending = True
        if self._tries:
            await asyncio.wait(self._tries, timeout=seconds)
        for cut in [*self._tries]:
            cut.cancel()
        await asyncio.gather(*self._tries, return_exceptions=True)

    async def look(self) -> bool:
        """Take what is due; whether there may be more of it."""
        if self._ending:
            return False
        now = self._clock.now()
        fresh = await self._outbox.due(now=now, limit=BATCH, besides=self._taken)
        if not fresh:
            return False
        webhooks = {webhook.id: webhook for webhook in await self._outbox.webhooks()}
        self._slots = {crowd: slots for crowd, slots in self._slots.items() if slots.last > now}
        changed = [kept for delivery in fresh if (kept := self._place(delivery, webhooks, now)) is not None]
        self._start()
        await asyncio.gather(*map(self._put_down, changed))
        return len(fresh) >= BATCH

    def _place(self, delivery: Delivery, webhooks: Mapping[str, Webhook], now: int) -> Delivery | None:
        """Put a delivery into its lane; what becomes of it instead where that cannot be."""
        if delivery.id in self._taken:
            return None
        letter = self._address(delivery, webhooks)
        if letter is None:
            return replace(delivery, abandoned_at=now, error="The webhook is switched off or was deleted.")
        lane = self._lane(letter)
        crowd = (delivery.news.account, lane.standing)
        if not lane.takes(now):
            return self._later(delivery, lane, now, slot=lane.next_slot(now))
        if not self._waiting.open_to(crowd):
            return self._later(delivery, lane, now, slot=self._slot(crowd, now))
        self._taken.add(delivery.id)
        self._waiting.take(crowd)
        lane.waiting.append(_Waiting(letter, crowd))
        self._turns[letter.whose] = lane
        return None

    def _slot(self, crowd: Crowd, now: int) -> int:
        """When to come back for one of a crowd that has no room; all crowds' slots together are so far apart."""
        slots = self._slots.setdefault(crowd, Slots())
        return slots.next(now, spacing=CROWD_SPACING * len(self._slots))

    def _address(self, delivery: Delivery, webhooks: Mapping[str, Webhook]) -> _Letter | None:
        if delivery.webhook_id is None:
            secret = self._account_secret(delivery.news.account)
            return _Letter(delivery=delivery, url=delivery.url, secret=secret)
        webhook = webhooks.get(delivery.webhook_id)
        if webhook is None or webhook.disabled_at is not None:
            return None
        return _Letter(delivery=delivery, url=webhook.url, secret=webhook.secret)

    def _lane(self, letter: _Letter) -> _Lane:
        """Its host's lane. Of a host that nothing is known of any more, after a restart say, the delivery may tell."""
        lane = self._lanes.get(letter.whose)
        if lane is None:
            if len(self._lanes) >= REMEMBERED:
                self._forget()
            unheard = letter.delivery.attempts > 0 and letter.delivery.status is None
            lane = self._lanes[letter.whose] = Lane(Standing.SILENT if unheard else Standing.UNKNOWN)
        return lane

    def _forget(self) -> None:
        """Half of what is known of hosts that nothing is under way to: what was learnt longest ago."""
        idle = [(lane.learnt_at, whose) for whose, lane in self._lanes.items() if lane.idle]
        for _, whose in sorted(idle)[: (len(idle) + 1) // 2]:
            del self._lanes[whose]

    def _later(self, delivery: Delivery, lane: _Lane, now: int, *, slot: int) -> Delivery:
        """Where there is no place for it now. A host that is only busy with others gets it however old it is."""
        if lane.failures and self._over(delivery, now):
            error = delivery.error or "The receiver's host has not answered for all that time."
            return replace(delivery, abandoned_at=now, error=error)
        return replace(delivery, due_at=slot)

    def _over(self, delivery: Delivery, now: int) -> bool:
        return now >= self._end(delivery)

    def _end(self, delivery: Delivery) -> int:
        """When it is tried for the last time."""
        return delivery.created_at + self._schedule.give_up

    def _start(self) -> None:
        """Send whatever may go now."""
        if self._ending:
            return
        for whose, lane in [*self._turns.items()]:
            crowd = (whose[0], lane.standing)
            while lane.ready and self._under_way.open_to(crowd):
                self._send(lane, crowd)
                del self._turns[whose]
                self._turns[whose] = lane
            if not lane.waiting:
                del self._turns[whose]

    def _send(self, lane: _Lane, crowd: Crowd) -> None:
        waited = lane.waiting.popleft()
        self._waiting.leave(waited.crowd)
        self._under_way.take(crowd)
        lane.under_way += 1
        task = asyncio.create_task(self._carry(waited.letter, lane))
        self._tries.add(task)
        task.add_done_callback(partial(self._ended, crowd))

    def _ended(self, crowd: Crowd, task: asyncio.Task[None]) -> None:
        self._tries.discard(task)
        self._under_way.leave(crowd)
        self._start()
        self.wake()  # for what found its lane full

    async def _carry(self, letter: _Letter, lane: _Lane) -> None:
        """One try, from the post to what is written down of it."""
        delivery = letter.delivery
        try:
            heard = await self._hear(letter, lane)
            now = self._clock.now()
            sent_away = self._learn(lane, heard, now)
            await asyncio.gather(
                self._keep(self._after(delivery, heard, now), heard), *self._put_off(sent_away, lane, now)
            )
        except Exception:
            log.exception("a delivery could not be tried or written down", delivery=delivery.id)
            asyncio.get_running_loop().call_later(UNWRITTEN, self._taken.discard, delivery.id)
        else:
            self._taken.discard(delivery.id)

    async def _hear(self, letter: _Letter, lane: _Lane) -> Heard:
        event_id, news = letter.delivery.id, letter.delivery.news
        try:
            return await self._try(letter.url, events.finished(event_id, news), event_id=event_id, secret=letter.secret)
        finally:
            lane.under_way -= 1

    def _learn(self, lane: _Lane, heard: Heard, now: int) -> list[_Waiting]:
        """What that try says about the host; whoever has to leave its lane for that."""
        if heard.never:
            return []
        if heard.status is None and now < lane.rests_until:
            return []  # several were under way when it fell silent, and that is known by now
        if heard.status is None:
            return lane.failed(until=now + self._schedule.rest(lane.failures + 1), now=now)
        lane.answered(well=not heard.busy, now=now)
        return []

    def _put_off(self, sent_away: list[_Waiting], lane: _Lane, now: int) -> list[Coroutine[Any, Any, None]]:
        """What is to be written down so that they come again later."""
        deliveries = [waited.letter.delivery for waited in sent_away]
        self._taken -= {delivery.id for delivery in deliveries}
        for waited in sent_away:
            self._waiting.leave(waited.crowd)
        return [self._put_down(self._later(delivery, lane, now, slot=lane.next_slot(now))) for delivery in deliveries]

    async def _put_down(self, delivery: Delivery) -> None:
        """Write down a delivery that was not tried: it comes again later, or not any more."""
        await self._outbox.keep_delivery(delivery)
        if delivery.abandoned_at is not None:
            self._count(Result.ABANDONED)

    def _after(self, delivery: Delivery, heard: Heard, now: int) -> Delivery:
        """The delivery after that try."""
        wished = self._schedule.wished(heard.retry_after, now=now)
        pause = max(self._schedule.pause(delivery.attempts + 1), wished)
        tried = replace(delivery, attempts=delivery.attempts + 1, status=heard.status, error=heard.error)
        if heard.well:
            return replace(tried, delivered_at=now)
        if heard.never or heard.status == _GONE or self._over(delivery, now):
            return replace(tried, abandoned_at=now)
        return replace(tried, due_at=min(now + pause, self._end(delivery)))

    async def _keep(self, delivery: Delivery, heard: Heard) -> None:
        told = log.bind(delivery=delivery.id, task_id=delivery.news.task_id, attempt=delivery.attempts)
        await self._outbox.keep_delivery(delivery)
        if heard.well:
            self._count(Result.DELIVERED)
            told.info("event delivered", status=heard.status)
        elif delivery.abandoned_at is None:
            self._count(Result.FAILED)
            told.info("event not delivered", error=heard.error, due_at=delivery.due_at)
        else:
            self._count(Result.ABANDONED)
            told.warning("event abandoned", error=heard.error)
        if heard.status == _GONE and delivery.webhook_id is not None:
            now = self._clock.now()
            await self._outbox.change_webhook(delivery.webhook_id, lambda webhook: replace(webhook, disabled_at=now))
            told.warning("webhook switched off", webhook=delivery.webhook_id)

    async def again(self, delivery: Delivery) -> Delivery:
        """Carry ``delivery`` once more, whatever became of it, and at once: somebody expects its host to be there."""
        once_more = replace(delivery, due_at=self._clock.now(), delivered_at=None, abandoned_at=None)
        await self._outbox.keep_delivery(once_more)
        webhooks = {webhook.id: webhook for webhook in await self._outbox.webhooks(delivery.news.account)}
        if (letter := self._address(once_more, webhooks)) is not None:
            self._lane(letter).hope()
        self.wake()
        return once_more

    async def test(self, webhook: Webhook, *, region: str) -> Heard:
        """Send an event of type ``kf2v:Webhook:Test`` now, once, past all lanes; what is said to it."""
        now = self._clock.now()
        event_id = new_id(now)
        body = events.test(event_id, webhook_id=webhook.id, account=webhook.account, region=region, now=now)
        return await self._try(webhook.url, body, event_id=event_id, secret=webhook.secret)

    async def _try(self, url: str, body: bytes, *, event_id: str, secret: str) -> Heard:
        headers = {
            "User-Agent": _AGENT,
            "Content-Type": events.CONTENT_TYPE,
            **signed(body, event_id=event_id, secret=secret, now=self._clock.now()),
        }
        try:
            answer = await asyncio.wrap_future(daemon.begin(lambda: self._post(url, body, headers), name="kf2v-post"))
        except NotPosted as error:
            return Heard(error=f"{error}.", never=isinstance(error, NeverPosted))
        return _heard(answer)


def _heard(answer: Answer) -> Heard:
    well = 200 <= answer.status < 300
    redirect = " Redirects are not followed." if 300 <= answer.status < 400 else ""
    error = "" if well else f"The receiver answered with status {answer.status}.{redirect}"
    return Heard(status=answer.status, error=error, retry_after=answer.retry_after, text=answer.text)
