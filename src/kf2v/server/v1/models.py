"""GET /models: what this server serves."""

from kf2v.admission.keys import Scope
from kf2v.catalog.models import MODELS
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.wire.v1 import models as wire
from kf2v.wire.v1.listing import page_of


class Models:
    """The models that the caller may ask for, in pages."""

    def __init__(self, *, reception: Reception) -> None:
        self._reception = reception

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.READ)
        page_no, page_size = page_of(exchange.query())
        models = [MODELS[name] for name in caller.region.models if caller.may_ask_for(MODELS[name])]
        return reply(exchange, {"output": wire.render(models, page_no=page_no, page_size=page_size)})
