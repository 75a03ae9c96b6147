"""GET /models and GET /models/limits: what this server serves, and how much of it an account may have."""

from kf2v.admission.keys import Scope
from kf2v.admission.limits import Limits
from kf2v.catalog.models import MODELS
from kf2v.errors import ModelNotExist
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.wire.v1 import models as wire
from kf2v.wire.v1.fields import choices, shown
from kf2v.wire.v1.listing import page_of


class Models:
    """The models that the caller may ask for, in pages."""

    def __init__(self, *, reception: Reception, limits: Limits) -> None:
        self._reception = reception
        self._limits = limits

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.READ)
        page_no, page_size = page_of(exchange.query())
        models = [MODELS[name] for name in caller.region.models if caller.may_ask_for(MODELS[name])]
        return reply(exchange, {"output": wire.render(models, page_no=page_no, page_size=page_size)})

    async def limits(self, exchange: Exchange) -> Reply:
        """How much the caller's account may have of each model, or of the one asked for. Raises ModelNotExist."""
        caller = await self._reception.caller(exchange, Scope.READ)
        query = exchange.query()
        page_no, page_size = page_of(query)
        names = tuple(name for name in caller.region.models if caller.may_ask_for(MODELS[name]))
        if asked := query.get("model"):
            if asked not in names:
                raise ModelNotExist(
                    f"{ModelNotExist.sentence} model should be {choices(names)}, but got {shown(asked)}."
                )
            names = (asked,)
        account, of = caller.account, self._limits
        rows = [(name, of.quota(account, name), of.budget(account, name)) for name in names]
        output = wire.render_limits(rows, of.budget(account, None), page_no=page_no, page_size=page_size)
        return reply(exchange, {"output": output})
