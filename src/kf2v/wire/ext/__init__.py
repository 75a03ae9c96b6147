"""kf2v's own surface, ``/kf2v/v1``, as JSON. Names and times are spelled as the vendor's API spells them."""
