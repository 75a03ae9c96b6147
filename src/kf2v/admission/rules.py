"""The questions a submission is asked, in this order. Each either raises InvalidParameter or has nothing to say."""

from collections.abc import Callable

from kf2v.admission.callers import Caller
from kf2v.catalog.models import Model
from kf2v.catalog.regions import Region
from kf2v.errors import ModelAccessDenied, ModelNotExist
from kf2v.wire import Submission
from kf2v.wire.v1.fields import choices, misfit, shown


def granted_model(name: str | None, caller: Caller) -> Model:
    """The model of that name. Raises ModelNotExist, and ModelAccessDenied if it is not for this caller."""
    model = model_of(caller.region, name)
    if not caller.may_ask_for(model):
        raise ModelAccessDenied
    return model


def model_of(region: Region, name: str | None) -> Model:
    """The model that ``region`` has under ``name``. Raises ModelNotExist; the cloud checks this at submission too, in
    every mode."""
    model = region.find(name or "")
    if model is None:
        raise ModelNotExist(
            f"{ModelNotExist.sentence} model should be {choices(region.models)}, but got {shown(name)}.",
            field="model",
        )
    return model


def well_formed(submission: Submission, model: Model) -> None:
    del model
    if submission.flaw is not None:
        raise submission.flaw


def offered_resolution(submission: Submission, model: Model) -> None:
    if submission.resolution is not None and submission.resolution not in model.resolutions:
        raise misfit("parameters.resolution", submission.resolution, f"{choices(model.resolutions)} for {model.name}")


RULES: tuple[Callable[[Submission, Model], None], ...] = (well_formed, offered_resolution)


def check(submission: Submission, model: Model) -> None:
    """Ask all of them. Raises InvalidParameter."""
    for rule in RULES:
        rule(submission, model)
