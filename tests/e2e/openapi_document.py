"""Render ``openapi.yaml`` to the ``openapi.json`` that the server publishes: ``python tests/e2e/openapi_document.py``.

Two files, because people write YAML and the server has no YAML reader.
"""

import json
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).resolve().parents[2] / "src" / "kf2v" / "server" / "openapi.yaml"
RENDERED = SOURCE.with_suffix(".json")


def source() -> Any:
    """The document as written, anchors and merges resolved."""
    return yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


def main() -> None:
    RENDERED.write_text(json.dumps(source(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
