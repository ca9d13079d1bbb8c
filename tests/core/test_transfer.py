"""A training step on a GPU waits for nothing; tested with tensors that only claim to be on one."""

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode

from fewshot import backbones
from fewshot.core.transfer import send
from fewshot.data import augment
from fewshot.data.augment import Augment
from fewshot.data.packed import PackedDataset
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training.config import Meta
from fewshot.training.run import resident
from fewshot.training.stages.meta import MetaTraining
from fewshot.training.validation import ImageValidation

GPU = torch.device("cuda")


class NoWaiting(TorchDispatchMode):
    """Refuses copies to a GPU that the host waits for; fake tensors already refuse to be read."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function is torch.ops.aten._to_copy.default:
            moves = (
                torch.device(options.get("device") or arguments[0].device).type != arguments[0].device.type
            )
            assert options.get("non_blocking") or not moves, "a copy to wait for"
        return function(*arguments, **options)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: x)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with mode:
            torch.ones(1).to(GPU)
    except RuntimeError as error:
        pytest.skip(f"this torch cannot imagine a GPU without its driver: {str(error).splitlines()[0]}")
    return mode


def test_waiting_is_noticed(fake):
    with fake, NoWaiting():
        with pytest.raises(AssertionError, match="a copy to wait for"):
            torch.ones(2).to(GPU)
        with pytest.raises(DataDependentOutputException):
            bool(torch.ones((), device=GPU) > 0)
        assert send(torch.ones(2), GPU).device.type == "cuda"


@pytest.mark.parametrize("method", ["prototypes", "class-graph"])
@pytest.mark.parametrize("rotate", [0.0, 5.0])
def test_a_step_waits_for_nothing(fake, monkeypatch, method, rotate):
    data = PackedDataset(
        torch.zeros(60, 3, 20, 20, dtype=torch.uint8), torch.arange(60) // 10, tuple("abcdef")
    )
    training = MetaTraining(
        Meta(method=method, batch=2, way=3, query=2),
        data,
        ImageValidation(data, data, ()),
        augment=Augment(crop=1, flip=True, brightness=0.2, noise=0.1, rotate=rotate),
        run_seed=0,
    )
    monkeypatch.setattr(augment, "_on_device", lambda generator, device: None)  # a seed, read on the CPU
    with fake:
        with GPU:
            model = GraphFewShot(backbones.conv4(1, 4), ClassGraph(), preprocess=Preprocess(16, 1))
            object.__setattr__(data, "items", torch.zeros(60, 3, 20, 20, dtype=torch.uint8))
        stage = training.begin(model)
        with NoWaiting():
            x, *rest = next(stage.batches(0))
            loss, accuracy = stage.module(x, *rest)
    assert {t.device.type for t in (x, *rest[:2], loss, accuracy)} == {"cuda"}


def test_images_stay_on_a_gpu_if_they_fit(monkeypatch):
    data = PackedDataset(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4) // 2, ("a", "b"))
    sent = []
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device: (sent.append(device), x)[1])
    for free, copies in ((512, 1), (511, 0)):  # the images take 256 bytes
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        resident(data, GPU)
        assert sent == [GPU] * copies
        sent.clear()
    assert resident(data, torch.device("cpu")) is data
