import pytest
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.parallel import ParallelLinker, parallel_linker

CAPTIONS = [f"fracture {i} of the femur, no pleural effusion, cardiomegaly in CXR{i % 7}" for i in range(1_300)]


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_the_same_mentions_in_the_same_order(vocabulary, dictionary_linker, workers):
    with parallel_linker("dictionary", vocabulary, DictionarySettings(), workers) as linker:
        assert isinstance(linker, ParallelLinker) == (workers > 1)
        assert linker.name == dictionary_linker.name
        assert linker.link([]) == []
        assert linker.link(CAPTIONS) == dictionary_linker.link(CAPTIONS)


def test_what_fails_in_a_process_fails_here_and_the_next_call_works(vocabulary):
    with parallel_linker("dictionary", vocabulary, DictionarySettings(), 2) as linker:
        with pytest.raises(TypeError):
            linker.link([None])
        assert [linked.caption for linked in linker.link(["a", "b"])] == ["a", "b"]
