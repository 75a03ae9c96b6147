"""What an owner says of limits, here and there and in general, made into every figure of a deployment."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from kf2v.admission.limits import EVERYBODY, Table
from kf2v.catalog.models import MODELS
from kf2v.catalog.quotas import ENDLESS, Budget, Currency, Quota


class Said(Protocol):
    """What is said of one model, or of each; None is nothing."""

    @property
    def per_second(self) -> int | None: ...
    @property
    def running(self) -> int | None: ...
    @property
    def waiting(self) -> int | None: ...
    @property
    def spend_per_day(self) -> Decimal | None: ...
    @property
    def spend_per_month(self) -> Decimal | None: ...
    @property
    def currency(self) -> Currency: ...


class SaidOfAccount(Said, Protocol):
    """What is said of an account: counts are of each of its models, sums of money of all of them together."""

    @property
    def models(self) -> Mapping[str, Said]: ...


def table_of(usual: Mapping[str, Quota], said: Mapping[str, SaidOfAccount]) -> Table:
    """Every figure there is: the ``usual`` ones by model, and what is ``said`` by account, ``EVERYBODY`` among them.

    The nearest word on a figure counts: account and model, account, everybody and model, everybody, the usual.
    """
    everybody = said.get(EVERYBODY)
    quotas: dict[tuple[str, str], Quota] = {}
    budgets: dict[tuple[str, str | None], Budget] = {}
    for account in {EVERYBODY, *said}:
        near = [who for who in (said.get(account), everybody) if who is not None]
        budgets[account, None] = _budget(near)
        for model in MODELS:
            of_model = [(who.models.get(model), who) for who in near]
            quotas[account, model] = _quota([one for pair in of_model for one in pair if one is not None], usual[model])
            budgets[account, model] = _budget([one for one, _ in of_model if one is not None])
    return Table(quotas=quotas, budgets=budgets)


def _quota(said: Sequence[Said], usual: Quota) -> Quota:
    """The first word on each figure counts."""
    return Quota(
        per_second=_first([one.per_second for one in said], usual.per_second),
        running=_first([one.running for one in said], usual.running),
        waiting=_first([one.waiting for one in said], usual.waiting),
    )


def _first(said: Sequence[int | None], usual: int | None) -> int | None:
    return next((figure for figure in said if figure is not None), usual)


def _budget(said: Sequence[Said]) -> Budget:
    """The first that says anything of money; its silence on the other period is no limit."""
    for one in said:
        if one.spend_per_day is not None or one.spend_per_month is not None:
            return Budget(per_day=one.spend_per_day, per_month=one.spend_per_month, currency=one.currency)
    return ENDLESS
