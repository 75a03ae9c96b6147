"""What was sent elsewhere, remembered on the disk, so that nothing is ever ordered twice.

Two notes are kept of each: the order itself, before the far side is asked for the first time, and its task id as soon
as it is known. Who finds an order without a task id does not know whether the far side heard of it.
"""

import contextlib

import msgspec

from kf2v.blobs import BlobExists, Blobs, NoSuchBlob
from kf2v.net.dashscope import Request

#: where the notes are, by the id of the task here
PLACE = "remote/"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, of whom, and since when. Repeated, it is the same to the last byte."""

    base_url: str
    request: Request
    #: milliseconds since the epoch
    at: int


class Orders:
    """All orders of one deployment."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def order(self, task_id: str) -> Order | None:
        """What was or is about to be ordered for ``task_id``; None if nothing yet."""
        note = self._read(f"{PLACE}{task_id}/order")
        return None if note is None else msgspec.json.decode(note, type=Order)

    def intend(self, task_id: str, order: Order) -> bool:
        """Write down that ``order`` is about to be given. False if there is one: another attempt was here."""
        try:
            self._blobs.put(f"{PLACE}{task_id}/order", msgspec.json.encode(order))
        except BlobExists:
            return False
        return True

    def far_id(self, task_id: str) -> str | None:
        """The far side's id of the task; None if it is not known."""
        note = self._read(f"{PLACE}{task_id}/task")
        return None if note is None else note.decode()

    def begun(self, task_id: str, far_id: str) -> None:
        """Write down how the far side calls it."""
        with contextlib.suppress(BlobExists):
            self._blobs.put(f"{PLACE}{task_id}/task", far_id.encode())

    def known(self) -> frozenset[str]:
        """Every far task that is somebody's here."""
        notes = [blob.key for blob in self._blobs.walk(PLACE) if blob.key.endswith("/task")]
        return frozenset(note.decode() for key in notes if (note := self._read(key)) is not None)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._blobs.read(key)
        except NoSuchBlob:
            return None
