"""Names of tasks."""

import uuid

from kf2v.tasks.identity import RANDOM_BITS, new_id
from orders import NOW


def test_an_id_is_a_uuid_of_version_7() -> None:
    parsed = uuid.UUID(new_id(NOW))
    assert str(parsed) == str(parsed).lower()
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == NOW


def test_later_ids_sort_after_earlier_ones() -> None:
    ids = [new_id(NOW + millisecond) for millisecond in range(100)]
    assert ids == sorted(ids)


def test_ids_of_the_same_millisecond_share_nothing_but_the_time() -> None:
    ids = [uuid.UUID(new_id(NOW)).int for _ in range(1000)]
    assert len(set(ids)) == 1000
    changing = 0
    for number in ids:
        changing |= number ^ ids[0]
    assert changing.bit_count() == RANDOM_BITS
