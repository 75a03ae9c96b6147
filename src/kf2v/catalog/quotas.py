"""How much an account may have: in what figures, and how much it is in the cloud.

Source: the vendor's rate-limit page and its model group file, both for Beijing; for ``wan2.1-kf2v-plus``, which is
Singapore's, the table there says one call a second and leaves the rest to its neighbours.
"""

from dataclasses import dataclass
from decimal import Decimal

from kf2v.catalog.prices import Currency


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Of one account and model. None: as much as it likes."""

    #: submissions
    per_second: int | None = None
    #: tasks at once
    running: int | None = None
    #: tasks at once
    waiting: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much the videos of a day and of a month may cost. None: any amount."""

    per_day: Decimal | None = None
    per_month: Decimal | None = None
    currency: Currency = "CNY"

    @property
    def endless(self) -> bool:
        return self.per_day is None and self.per_month is None


ENDLESS = Budget()

#: of a model that has no row
CLOUD = Quota(per_second=2, running=2, waiting=500)
CLOUD_QUOTAS: dict[str, Quota] = {
    "wan2.2-kf2v-flash": CLOUD,
    "wanx2.1-kf2v-plus": CLOUD,
    "wan2.1-kf2v-plus": Quota(per_second=1, running=2, waiting=500),
}

#: of an owner's own machine: a queue that long is a program gone wild
OWN = Quota(waiting=100_000)
