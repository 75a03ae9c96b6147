"""kf2v: a first frame, a last frame and a prompt become a five-second video.

Read the folders in the order a request takes them: ``server`` (HTTP), ``wire`` (the API's own words),
``admission`` and ``catalog`` (may it, and what does it mean), ``tasks`` and ``store`` (the promise and its row),
``worker`` (who does it), ``pipeline`` (how it is done), ``moderation`` (may it be seen), ``rewriting`` (the words),
``engines`` (the frames), ``video`` (the file), ``blobs`` and ``links`` (where it lies and how it is reached),
``metering`` (what it counts), ``notify`` (who is told). ``assembly`` is where they are put together.
"""

__version__ = "0.1.0"
