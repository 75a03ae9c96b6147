"""Take the examples out of the vendor's reference page, as they stand: ``python extract.py PAGE FOLDER``.

The golden files come from here and are never edited by hand. ``PAGE`` is the text of "Wan - image-to-video - first
and last frames API reference" or of the Chinese user guide.
"""

import re
import sys
from pathlib import Path

#: the bare JSON blocks of the reference page, in its order
RESPONSES = (
    "created",
    "error",
    "succeeded-2.2",
    "failed",
    "unknown",
    "python-call",
    "python-async-call",
    "python-wait",
    "java-call",
    "java-async-call",
    "java-wait",
)
#: the bodies of the ``curl`` calls of either page, in their order
REQUESTS = {True: ("reference-480p", "reference-negative-prompt"), False: ("guide-monster", "guide-cat")}
#: the Python programs of the reference page; the guide's copy has lost its indentation
PROGRAMS = ("reference_call", "reference_async_call")


def main(page: str, folder: str) -> None:
    text, into = Path(page).read_text(encoding="utf-8"), Path(folder)
    reference = "API reference" in text[:400]
    bodies = re.findall(r"-d '(\{.*?\})'", text, re.DOTALL)
    found = {f"{name}.request.json": body for name, body in zip(REQUESTS[reference], bodies, strict=True)}
    if reference:
        blocks = re.findall(r"^\{\n.*?^\}$", text, re.DOTALL | re.MULTILINE)
        # the ``curl`` bodies start inside a line and end in one, so none of them is among the blocks
        found |= {f"{name}.response.json": block for name, block in zip(RESPONSES, blocks, strict=True)}
        programs = re.findall(r"^import os\n.*?^    sample_\w+\(\)$", text, re.DOTALL | re.MULTILINE)
        found |= {f"{name}.py.txt": program for name, program in zip(PROGRAMS, programs, strict=True)}
    for name, content in found.items():
        (into / name).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
