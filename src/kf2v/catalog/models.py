"""The models this API serves, one row each.

Source: the vendor's API reference ("Availability", "resolution", "usage") and user guide (models by region).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

#: how long every video is (reference: "duration … fixed at 5")
SECONDS = 5
#: and of what: its frames per second, and how many they are
FPS = 30
FRAMES = SECONDS * FPS

#: target area in pixels of each resolution tier; 720P from the reference's example (750x1000 gives 816x1104)
AREAS = {"480P": 832 * 480, "720P": 1280 * 720, "1080P": 1920 * 1080}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    name: str
    #: which member of ``usage`` it is counted by: the 2.2 family by ``SR``, the 2.1 family by ``video_ratio``
    counted_by: Literal["SR", "video_ratio"]
    resolutions: tuple[str, ...]
    default_resolution: str
    #: the other names of the same model
    aliases: tuple[str, ...] = ()

    def is_among(self, names: Collection[str]) -> bool:
        """Whether any of its names is among ``names``."""
        return self.name in names or any(alias in names for alias in self.aliases)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="wan2.2-kf2v-flash",
            counted_by="SR",
            resolutions=("480P", "720P", "1080P"),
            default_resolution="720P",
        ),
        Model(
            name="wan2.1-kf2v-plus",
            counted_by="video_ratio",
            resolutions=("720P",),
            default_resolution="720P",
            aliases=("wanx2.1-kf2v-plus",),
        ),
        Model(
            name="wanx2.1-kf2v-plus",
            counted_by="video_ratio",
            resolutions=("720P",),
            default_resolution="720P",
            aliases=("wan2.1-kf2v-plus",),
        ),
    )
}
