"""The web server's own package stays light, and so does what puts it together."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import kf2v.assembly.doors, kf2v.server
for module in pkgutil.walk_packages(kf2v.server.__path__, "kf2v.server."):
    importlib.import_module(module.name)
print(*sys.modules)
"""


def test_the_server_loads_no_pixels_no_codec_and_no_model() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "kf2v.server.v1.create" in loaded
    assert loaded & {"numpy", "cv2", "PIL", "av", "torch", "imagehash", "scipy", "openai"} == set()
