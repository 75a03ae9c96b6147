"""kf2v's own surface under ``/kf2v/v1``: what the vendor's API has no words for.

One module per subject; each brings its routes along as ``routes()``.
"""
