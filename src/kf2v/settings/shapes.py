"""Settings that are more than one value."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from kf2v.settings.kinds import ABOUT_MODELS


class WanLora(BaseModel):
    """A low-rank change to a model's transformers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: a path, or ``owner/name:file`` on the hub
    file: str = Field(min_length=1)
    strength: float = Field(default=1.0, allow_inf_nan=False)
    #: whom it changes; without it the file's name says so, or it changes all
    expert: Literal["high", "low"] | None = None


class WanWeights(BaseModel):
    """What a model of the wan engine runs on, where it is none of ``kf2v models list``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: a directory, or ``owner/name`` on the hub
    base: str = Field(min_length=1)
    #: transformers in files of their own, high-noise first
    experts: tuple[str, ...] = ()
    loras: tuple[WanLora, ...] = ()
    #: whether they were taught to need four steps
    distilled: bool = False


class ModelLimits(BaseModel):
    """What an account may have of each model, or of one. What is not said stays as ``limits`` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: submissions
    per_second: int | None = Field(default=None, ge=1)
    #: tasks at once
    running: int | None = Field(default=None, ge=0)
    #: tasks at once
    waiting: int | None = Field(default=None, ge=0)
    #: what the cloud would have charged for the videos of a day in UTC+8
    spend_per_day: Decimal | None = Field(default=None, ge=0)
    #: and of a month
    spend_per_month: Decimal | None = Field(default=None, ge=0)
    #: of both
    currency: Literal["CNY", "USD"] = "CNY"


class AccountLimits(ModelLimits):
    """What an account may have: counts are of each of its models, sums of money of all of them together."""

    #: by model, where it is another figure; a sum here is one more, of that model alone
    models: Annotated[dict[str, ModelLimits], ABOUT_MODELS] = Field(default_factory=dict)


def _spelling(value: object) -> str:
    return "detailed" if isinstance(value, (dict, WanWeights)) else "named"


#: told apart before they are checked, so that a mistake in one is not called the absence of the other
WanChoice = Annotated[
    Annotated[str, Field(min_length=1), Tag("named")] | Annotated[WanWeights, Tag("detailed")], Discriminator(_spelling)
]

#: what ``WanChoice`` adds to the place of a mistake, which means nothing to who made it
TAGS = ("named", "detailed")
