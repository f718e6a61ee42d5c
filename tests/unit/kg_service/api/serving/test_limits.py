import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.api.problems import BodyTimeout, BodyTooLarge, InvalidHost
from kg_service.api.serving.limits import Bounds, Gate, Places, bounded, check_host, check_matrix
from kg_service.config import Settings
from nbclip.errors import Busy, LimitExceeded


def receiving(chunks, limit=10, timeout_s=5.0, pause_s=5.0, every_s=0.0):
    """What the application gets of a body that comes in these chunks."""

    async def run():
        left = list(chunks)

        async def receive():
            await asyncio.sleep(every_s)
            if not left:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        receive_bounded, got = bounded(receive, Bounds(limit, timeout_s, pause_s)), []
        while (message := await receive_bounded())["type"] == "http.request":
            got.append(message["body"])
        return got

    return asyncio.run(run())


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=6))
def test_bytes_are_counted_over_chunks(chunks):
    if sum(map(len, chunks)) <= 10:
        assert receiving(chunks) == chunks
    else:
        with pytest.raises(BodyTooLarge, match="10 bytes"):
            receiving(chunks)


def test_time_counts_over_the_whole_body_and_not_after_it():
    with pytest.raises(BodyTimeout, match=r"no whole body in 0\.05 s"):
        receiving([b"a"] * 9, timeout_s=0.05, every_s=0.02)
    # 1.2 s in all: the disconnect that is waited for after the body counts for nothing
    assert receiving([b"a"], timeout_s=1.0, pause_s=1.0, every_s=0.6) == [b"a"]


def test_a_pause_is_bounded_however_long_the_body_may_take():
    with pytest.raises(BodyTimeout, match=r"nothing of the body in 0\.05 s"):
        receiving([b"a"], timeout_s=1e9, pause_s=0.05, every_s=60)
    assert receiving([b"a"] * 8, timeout_s=1e9, pause_s=1.0, every_s=0.15) == [b"a"] * 8


def ask_with_body(gate, chunks, *, path="/link", until=None):
    """The body that the application behind the gate reads in one piece; waits for `until` before it ends."""

    async def receive():
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost")], "until": until}
    return gate(scope, receive, None)


async def reads_all(scope, receive, _):
    scope["read"] = 0
    while True:
        message = await receive()
        scope["read"] += len(message["body"])
        if not message["more_body"]:
            break
    if scope["until"]:
        await scope["until"].wait()


def test_large_bodies_are_bounded_together_and_small_ones_always_fit():
    """Two places for bodies of 1 MB: of three such bodies at once one is refused, and small ones are not."""
    gate = Gate(reads_all, Settings(max_concurrent=2, max_body_bytes=1_000_000))

    def large():
        return [b"x" * 100_000 for _ in range(10)]

    async def run():
        end = asyncio.Event()
        held = [asyncio.create_task(ask_with_body(gate, large(), until=end)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="large bodies"):
            await ask_with_body(gate, large())
        for _ in range(50):
            await ask_with_body(gate, [b"x" * 30_000] * 2)
        await ask_with_body(gate, large(), path="/v1/jobs/ingest")
        end.set()
        await asyncio.gather(*held)
        await ask_with_body(gate, large())

    asyncio.run(run())


def test_places_are_counted_by_share_and_come_back_when_work_fails():
    places = Places(3, "things")
    with places.take(2), places.take(), pytest.raises(Busy, match="things"), places.take():
        pass
    with pytest.raises(KeyError), places.take(3):
        raise KeyError
    with places.take(3):
        pass


def test_places_are_never_oversold_by_threads():
    places, inside, most = Places(4, "things"), [], []

    def work():
        for _ in range(300):
            try:
                with places.take():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except Busy:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 4
    with places.take(4):
        pass


@pytest.mark.parametrize("body", [None, [], "x", {}, {"image_ids": None}, {"image_ids": "x" * 9_000}, {"image_ids": {"a": 1}}])
def test_what_has_no_size_is_left_to_the_schema(body):
    check_matrix(body, Settings())


@given(st.integers(0, 9), st.none() | st.integers(0, 9))
def test_a_matrix_is_refused_exactly_where_a_limit_is_passed(rows, columns):
    body = {"image_ids": [0] * rows, "column_ids": None if columns is None else [0] * columns}
    wide = columns or rows
    over = rows > 5 or wide > 7 or rows * wide > 20
    try:
        check_matrix(body, Settings(max_rows=5, max_columns=7, max_cells=20))
    except LimitExceeded:
        assert over
    else:
        assert not over


@pytest.mark.parametrize(
    ("trusted", "host"), [(["[::1]"], "1"), (["*.a.org"], "a.org"), (["*.a.org"], "b.org"), (["a"], "A.b"), ([], "")]
)
def test_patterns_match_whole_names(trusted, host):
    with pytest.raises(InvalidHost):
        check_host(host, trusted)
