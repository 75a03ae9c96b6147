from dataclasses import replace

from kf2v.tasks import State
from kf2v.tasks.news import news_of
from orders import NOW, order


def test_a_task_began_when_work_did_and_else_when_it_came() -> None:
    ended = replace(order(state=State.CANCELED, submitted_at=NOW), ended_at=NOW + 9_000)
    assert news_of(ended).started_at == NOW
    assert news_of(replace(ended, scheduled_at=NOW + 4_000)).started_at == NOW + 4_000
