"""Pictures in time, as pure functions: frames, sizes, retiming, the mark and the file.

Knows no task, no API and no network.
"""

from kf2v.video.frames import Clip, Frame, Size

__all__ = ["Clip", "Frame", "Size"]
