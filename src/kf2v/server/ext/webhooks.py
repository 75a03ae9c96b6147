"""Who hears of the ends of tasks, and what became of the telling."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from kf2v.admission.keys import Caller, Scope
from kf2v.admission.receivers import receiver
from kf2v.clock import Clock
from kf2v.errors import InvalidParameter, NotFound, QuotaExceeded, RateExceeded
from kf2v.net.guard import AllowedHosts
from kf2v.notify.courier import Courier
from kf2v.notify.signature import is_secret, new_secret
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.accounts import account_for, account_seen, managing_caller
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.store import Store, Webhook
from kf2v.tasks.identity import new_id
from kf2v.wire import webhooks as wire

#: of an account
LIMIT = 20
#: deliveries in one answer
SHOWN = 100
#: tests of an account that may be under way at once; each may take as long as a receiver may
TESTS = 2
#: characters of what a receiver said that are handed on
QUOTED = 500
_BODY_LIMIT = 64 * 1024


class Webhooks:
    """An account's webhooks, for keys that manage it; all of them for an admin's."""

    def __init__(
        self,
        *,
        reception: Reception,
        store: Store,
        clock: Clock,
        courier: Courier,
        hosts: AllowedHosts,
        account_secret: Callable[[str], str],
        region_id: str,
    ) -> None:
        self._reception = reception
        self._store = store
        self._clock = clock
        self._courier = courier
        self._hosts = hosts
        self._account_secret = account_secret
        self._region_id = region_id
        #: two creates at once must not both be the last one allowed
        self._counting = asyncio.Lock()
        #: accounts with tests under way
        self._testing = Counter[str]()

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{EXT}/webhooks", self.list),
            Route("POST", f"{EXT}/webhooks", self.create),
            Route("GET", f"{EXT}/webhooks/secret", self.secret),
            Route("GET", f"{EXT}/webhooks/{{webhook_id}}", self.get),
            Route("PATCH", f"{EXT}/webhooks/{{webhook_id}}", self.change),
            Route("DELETE", f"{EXT}/webhooks/{{webhook_id}}", self.delete),
            Route("POST", f"{EXT}/webhooks/{{webhook_id}}/test", self.test),
            Route("GET", f"{EXT}/webhooks/{{webhook_id}}/deliveries", self.deliveries_to),
            Route("GET", f"{EXT}/deliveries", self.deliveries),
            Route("POST", f"{EXT}/deliveries/{{delivery_id}}/retry", self.retry),
        ]

    async def list(self, exchange: Exchange) -> Reply:
        """An account's webhooks or all, oldest first."""
        account = account_seen(await managing_caller(self._reception, exchange), exchange.query().get("account"))
        return reply(exchange, {"webhooks": [wire.webhook(row) for row in await self._store.webhooks(account)]})

    async def create(self, exchange: Exchange) -> Reply:
        """A new webhook, with its secret, which is shown this once. Raises QuotaExceeded."""
        caller = await managing_caller(self._reception, exchange, lasting=True)
        asked = wire.parse_new(await exchange.body(_BODY_LIMIT))
        now = self._clock.now()
        row = Webhook(
            id=new_id(now),
            account=account_for(caller, asked.account),
            url=receiver("url", asked.url, self._hosts),
            secret=new_secret() if asked.secret is None else _usable(asked.secret),
            label=asked.label,
            created_at=now,
        )
        async with self._counting:
            if len(await self._store.webhooks(row.account)) >= LIMIT:
                raise QuotaExceeded(f"{QuotaExceeded.sentence} An account may have {LIMIT} webhooks.")
            await self._store.put_webhook(row)
        return reply(exchange, {"webhook": wire.webhook(row, secret=True)})

    async def secret(self, exchange: Exchange) -> Reply:
        """What signs the events to addresses that a request named in ``X-Kf2v-Callback``."""
        account = account_for(
            await managing_caller(self._reception, exchange, lasting=True), exchange.query().get("account")
        )
        return reply(exchange, {"account": account, "secret": self._account_secret(account)})

    async def get(self, exchange: Exchange) -> Reply:
        return reply(exchange, {"webhook": wire.webhook(await self._asked(exchange))})

    async def change(self, exchange: Exchange) -> Reply:
        """Another address, label or secret, or on and off; the secret is shown if it is new."""
        row = await self._asked(exchange, lasting=True)
        asked = wire.parse_change(await exchange.body(_BODY_LIMIT))
        url = asked.url and receiver("url", asked.url, self._hosts)
        secret = new_secret() if asked.rotate_secret else asked.secret and _usable(asked.secret)
        now = self._clock.now()

        def changed(there: Webhook) -> Webhook:
            disabled = there.disabled_at
            if asked.enabled is not None:
                disabled = None if asked.enabled else disabled or now
            return replace(
                there,
                url=url or there.url,
                label=there.label if asked.label is None else asked.label,
                secret=secret or there.secret,
                disabled_at=disabled,
            )

        made = await self._store.change_webhook(row.id, changed)
        if made is None:
            raise _no_webhook(row.id)
        return reply(exchange, {"webhook": wire.webhook(made, secret=bool(secret))})

    async def delete(self, exchange: Exchange) -> Reply:
        """No more; what is on its way there is abandoned."""
        row = await self._asked(exchange, lasting=True)
        if not await self._store.remove_webhook(row.id):
            raise _no_webhook(row.id)
        return reply(exchange, {})

    async def test(self, exchange: Exchange) -> Reply:
        """Send an event there now, and hand on what the receiver said. Raises RateExceeded."""
        row = await self._asked(exchange)
        if self._testing[row.account] >= TESTS:
            message = f"{RateExceeded.sentence} {TESTS} tests of an account may be under way."
            raise RateExceeded(message, retry_after=1.0)
        self._testing[row.account] += 1
        try:
            heard = await self._courier.test(row, region=self._region_id)
        finally:
            self._testing[row.account] -= 1
        told = {"status": heard.status, "error": heard.error or None, "answer": heard.text[:QUOTED] or None}
        return reply(exchange, {"delivered": heard.well, **{k: v for k, v in told.items() if v is not None}})

    async def deliveries_to(self, exchange: Exchange) -> Reply:
        """What became of the events for one webhook, the newest first."""
        row = await self._asked(exchange)
        rows = await self._store.deliveries(row.account, webhook_id=row.id, limit=SHOWN)
        return reply(exchange, {"deliveries": [wire.delivery(row) for row in rows]})

    async def deliveries(self, exchange: Exchange) -> Reply:
        """What became of an account's events or of all, callbacks included, the newest first."""
        caller, query = await managing_caller(self._reception, exchange), exchange.query()
        rows = await self._store.deliveries(
            account_seen(caller, query.get("account")), task_id=query.get("task_id") or None, limit=SHOWN
        )
        return reply(exchange, {"deliveries": [wire.delivery(row) for row in rows]})

    async def retry(self, exchange: Exchange) -> Reply:
        """Send an event once more, whatever became of it."""
        caller, delivery_id = await managing_caller(self._reception, exchange), exchange.parts["delivery_id"]
        row = await self._store.delivery(delivery_id)
        if row is None or not _may_see(caller, row.news.account):
            raise NotFound(f"There is no delivery '{delivery_id[:64]}'.")
        return reply(exchange, {"delivery": wire.delivery(await self._courier.again(row))})

    async def _asked(self, exchange: Exchange, *, lasting: bool = False) -> Webhook:
        """The webhook of the path. Raises NotFound, for another account's as well."""
        caller, webhook_id = (
            await managing_caller(self._reception, exchange, lasting=lasting),
            exchange.parts["webhook_id"],
        )
        for row in await self._store.webhooks():
            if row.id == webhook_id and _may_see(caller, row.account):
                return row
        raise _no_webhook(webhook_id)


def _may_see(caller: Caller, account: str) -> bool:
    return account == caller.account or caller.may(Scope.ADMIN)


def _usable(secret: str) -> str:
    if is_secret(secret):
        return secret
    raise InvalidParameter("Input should be 'whsec_' and the base64 of 24 to 64 bytes: secret, but got something else.")


def _no_webhook(webhook_id: str) -> NotFound:
    return NotFound(f"There is no webhook '{webhook_id[:64]}'.")
