"""``kf2v models``: what can be asked for."""

from __future__ import annotations

from kf2v.cli.config import read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.terminal import give_json, give_table


def models(as_json: AsJson = False) -> None:
    """List the models that this machine's settings serve."""
    from kf2v.catalog.models import MODELS
    from kf2v.catalog.regions import REGIONS

    region = REGIONS[read_settings().region]
    rows = [MODELS[name] for name in region.models]
    if as_json:
        give_json(
            {
                "region": region.id,
                "models": [
                    {
                        "model": model.name,
                        "resolutions": model.resolutions,
                        "default_resolution": model.default_resolution,
                        "counted_by": model.counted_by,
                        "aliases": model.aliases,
                    }
                    for model in rows
                ],
            }
        )
        return
    give_table(
        ("model", "resolutions", "default", "counted by", "also called"),
        ((m.name, ", ".join(m.resolutions), m.default_resolution, m.counted_by, ", ".join(m.aliases)) for m in rows),
    )
