import torch

from fewshot.core.seeds import seed, seeded


def test_seeds_are_the_same_everywhere():
    assert seed(0, "pretrain", "augment", 3) == 16160594235142860827
    assert seed(7, "meta", "episodes", "hard") == 3506117070539687375


def test_streams_have_seeds_of_their_own():
    streams = {
        (r, n, *rest) for r in range(3) for n in ("a", "b", 0, 1) for rest in ((), ("a",), (0,), (1, 2))
    }
    streams |= {(0, "a", step) for step in range(3, 5000)}
    streams |= {(0, "ab"), (0, "0"), (10,), (1, 0), (0, "a, 1"), (2**32,), (2**32 + 1,)}
    assert len({seed(*stream) for stream in streams}) == len(streams)


def test_torch_takes_every_seed():
    for step in range(100):
        drawn = [torch.rand(3, generator=torch.Generator().manual_seed(seed(0, "x", step))) for _ in range(2)]
        assert torch.equal(*drawn)


def test_random_numbers_outside_are_untouched():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(seed(0, "weights")):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    assert not torch.equal(inside, expected)
