"""Region profiles: which model names a deployment answers to.

Source: the vendor's user guide; Singapore calls the 2.1 model ``wan2.1-kf2v-plus``, Beijing ``wanx2.1-kf2v-plus``.
"""

from dataclasses import dataclass

from kf2v.catalog.models import MODELS, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    name: str
    #: as the list API spells it
    id: str
    models: tuple[str, ...]

    def find(self, model: str) -> Model | None:
        """The model of that name if this region serves it."""
        return MODELS.get(model) if model in self.models else None


REGIONS: dict[str, Region] = {
    region.name: region
    for region in (
        Region(name="all", id="local", models=tuple(MODELS)),
        Region(name="singapore", id="ap-southeast-1", models=("wan2.2-kf2v-flash", "wan2.1-kf2v-plus")),
        Region(name="beijing", id="cn-beijing", models=("wan2.2-kf2v-flash", "wanx2.1-kf2v-plus")),
    )
}
