import threading

import numpy as np
import pytest
from kg_service.similarity import buffers

SHAPE = (700, 700)


@pytest.fixture(autouse=True)
def none_free(monkeypatch):
    monkeypatch.setattr(buffers, "_free", {})


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_taken_again_once_nobody_holds_it():
    first = buffers.empty(SHAPE, np.float32)
    before = place(first)
    del first
    assert place(buffers.empty(SHAPE, np.float32)) == before


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[3:5],
        lambda array: array.reshape(-1)[:1],
        lambda array: memoryview(array),
        lambda array: array.data.cast("B")[10:20],
        lambda array: array[1:].view(np.uint8)[0].data,
    ],
)
def test_memory_is_not_taken_while_anything_refers_to_it(hold):
    held = hold(buffers.empty(SHAPE, np.float32))
    others = [place(buffers.empty(SHAPE, np.float32)) for _ in range(3)]
    start = np.frombuffer(held, np.uint8).__array_interface__["data"][0]
    assert not any(other <= start < other + 4 * 700 * 700 for other in others)


def test_it_is_numpys_empty_in_shape_and_type():
    for shape, dtype in ((SHAPE, np.float32), ((3, 4), np.float16), ((1 << 20,), np.uint8), ((0, 5), np.float32)):
        array = buffers.empty(shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_no_more_than_a_few_are_kept():
    held = [buffers.empty(SHAPE, np.float32) for _ in range(20)]
    del held
    assert [len(free) for free in buffers._free.values()] == [4]


def test_threads_that_take_and_drop_never_share_one():
    wrong = []

    def work(number):
        for _ in range(50):
            array = buffers.empty(SHAPE, np.float32)
            array[:] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
