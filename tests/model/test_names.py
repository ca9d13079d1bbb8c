"""Relations from names: what overrides them, what they are worth, and where they are not looked up."""

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path, similarity
from fewshot.core.wordnet import wordnet
from fewshot.data.class_table import ClassRow
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.names import meanings, relations_of


@pytest.fixture(scope="module")
def known():
    paths = [as_path(path) for path in list(read_benchmark("tieredimagenet").taxonomy.values())[::5]]
    rows = torch.randn(len(paths), 64, generator=torch.Generator().manual_seed(0))
    return KnownClasses(rows, [path[-1] for path in paths], paths)


def test_a_table_overrides_the_folders_name(known):
    table = {
        "a": ClassRow(path="entity/mine", wnid="n02012849", name="owl"),
        "b": ClassRow(wnid="n02012849", name="owl"),
        "c": ClassRow(name="owls"),
        "owl": ClassRow(text="says nothing of the name"),
    }
    found = meanings(["a", "b", "c", "owl", "zzz"], known, table=table)
    assert found["a"].path == ("entity", "mine")
    assert found["b"].wnid == "n02012849"
    assert found["c"] == found["owl"]
    assert found["c"].path[-1] == "owl"
    assert found["zzz"].path == ()
    with pytest.raises(InputError, match=r"wnid: expected a noun of WordNet 3.0 for class 'b', got 'n1'"):
        meanings(["b"], known, table={"b": ClassRow(wnid="n1")})


def test_rows_are_similarities_and_guesses_say_half_as_much(known):
    found = list(meanings(["owl", "striped owl", "zzz"], known).values())
    assert [meaning.guess for meaning in found] == [False, True, False]
    rows = relations_of(found, known)
    assert torch.equal(rows[0], similarity([found[0].path], known.paths)[0])
    assert torch.allclose(rows[1] - rows[1].mean(), 0.5 * (rows[0] - rows[0].mean()), atol=1e-6)
    assert rows[2].isnan().all()


def test_letters_called_bet_are_no_bets():
    letters = KnownClasses(torch.eye(2), ("a", "b"), (("Latin", "a"), ("Latin", "b")))
    for other in (letters, KnownClasses(torch.eye(2), ("a", "b"))):
        assert meanings(["bet", "owl"], other)["owl"].path == ()
    given = meanings(["bet"], letters, table={"bet": ClassRow(path="Hebrew/bet")})
    assert given["bet"].path == ("Hebrew", "bet")


def test_an_ambiguous_name_is_decided_by_what_the_supports_look_like(known):
    words = wordnet()
    birds = torch.tensor(["bird" in path for path in known.paths], dtype=torch.float)
    machines = torch.tensor(["device" in path for path in known.paths], dtype=torch.float)
    for looks, wanted in ((birds, "bird"), (machines, "lifting_device")):
        prototype = torch.nn.functional.normalize(looks @ known.prototypes, dim=0)
        found = meanings(["crane"], known, prototype[None])["crane"]
        assert wanted in found.path
        assert found.senses == len(words.senses("crane"))
    unseen = meanings(["crane"], known, torch.full((1, 64), torch.nan))
    assert unseen == meanings(["crane"], known)
