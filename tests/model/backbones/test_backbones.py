import pytest
import torch

from fewshot import backbones
from fewshot.core.errors import InputError


@pytest.mark.parametrize(("size", "features"), [(84, 1600), (32, 256), (28, 64), (16, 64)])
def test_conv4_sizes_of_the_literature(size, features):
    backbone = backbones.conv4()
    assert backbone.out_features(size) == features
    assert backbone(torch.zeros(2, 3, size, size)).shape == (2, features)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 84, 84), (3, 33, 64)])
@pytest.mark.parametrize(
    "config",
    [
        {"name": "conv4", "width": 8},
        {"name": "resnet12", "widths": [4, 4, 8, 8]},
        {"name": "wrn28_10", "widths": [4, 8, 8]},
    ],
)
def test_out_features_is_what_forward_gives(config, channels, height, width):
    backbone = backbones.build({**config, "in_channels": channels}).eval()
    with torch.inference_mode():
        out = backbone(torch.rand(2, channels, height, width))
    assert out.shape == (2, backbone.out_features(height, width))


@pytest.mark.parametrize("make", [backbones.conv4, backbones.resnet12, backbones.wrn28_10])
def test_build_makes_the_same_module_again(make):
    first = make(1)
    second = backbones.build(first.config)
    second.load_state_dict(first.state_dict())
    assert second.config == first.config
    assert backbones.in_channels(second) == 1


def test_parameters_of_the_usual_networks():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(backbones.conv4()) == 9 * (3 * 64 + 3 * 64 * 64) + 4 * 2 * 64
    assert round(count(backbones.resnet12()) / 1e6, 1) == 12.4
    assert round(count(backbones.wrn28_10()) / 1e6, 1) == 36.5


def test_residual_block_is_its_shortcut_when_the_convolutions_are_off():
    block = backbones.ResidualBlock(3, 5).eval()
    torch.nn.init.zeros_(block.bn3.weight)
    x = torch.randn(2, 3, 6, 6)
    shortcut = torch.nn.functional.leaky_relu(block.downsample(x), 0.1)
    torch.testing.assert_close(block(x), torch.nn.functional.max_pool2d(shortcut, 2))


def trained(config):
    """A backbone whose batch norms have seen images, and have scales of either sign."""
    torch.manual_seed(0)
    backbone = backbones.build(config)
    for norm in (m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    with torch.no_grad():
        for _ in range(3):
            backbone(3 * torch.randn(8, 3, 33, 32) + 1)
    return backbone.eval()


@pytest.mark.parametrize(
    "config", [{"name": "conv4", "width": 8}, {"name": "resnet12", "widths": [4, 8, 8, 16]}]
)
def test_folded_for_inference_the_features_stay(config):
    backbone, x = trained(config), torch.randn(5, 3, 33, 32)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    folded = backbones.for_inference(backbone)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), backbone(x), rtol=1e-4, atol=1e-4)
        half = backbones.for_inference(backbone, torch.bfloat16)(x.bfloat16())
        assert torch.cosine_similarity(half.float(), backbone(x)).min() > 0.999
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_of_a_wide_network_only_the_norms_that_follow_a_convolution_are_folded():
    backbone, x = trained({"name": "wrn28_10", "widths": [4, 8, 8]}), torch.randn(5, 3, 33, 32)
    folded = backbones.for_inference(backbone)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), backbone(x), rtol=1e-4, atol=1e-4)
    left = [name for name, m in folded.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(left) == 13  # one per block, and the last
    assert all(name.endswith("bn1") or name == "bn" for name in left)


def test_preactivation_block_is_its_shortcut_when_the_last_convolution_is_off():
    x = torch.randn(2, 4, 6, 6)
    same, other = (backbones.PreactivationBlock(4, w, s).eval() for w, s in ((4, 1), (5, 2)))
    for block in (same, other):
        torch.nn.init.zeros_(block.conv2.weight)
    torch.testing.assert_close(same(x), x)
    normed = torch.nn.functional.relu(other.bn1(x))
    torch.testing.assert_close(other(x), other.downsample(normed))


def test_a_strangers_backbone_is_not_folded():
    stranger = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 2, 3))
    assert backbones.for_inference(stranger) is stranger


def test_activations_keep_their_scale_through_the_layers():
    torch.manual_seed(0)
    with torch.inference_mode():
        out = backbones.resnet12(widths=(16, 32, 64, 128)).train()(torch.randn(8, 3, 32, 32))
    assert 0.1 < out.std() < 10


def test_names_are_torchvisions():
    names = dict(backbones.resnet12(widths=(4, 4, 4, 4)).named_modules())
    assert {"layer1.conv1", "layer4.bn3", "layer2.downsample.0"} <= names.keys()
    assert {"conv1", "bn4"} <= dict(backbones.conv4(width=4).named_modules()).keys()


def test_build_names_what_it_knows():
    with pytest.raises(InputError, match=r"expected one of conv4, .*got 'conv5' .*did you mean 'conv4'"):
        backbones.build({"name": "conv5"})
    with pytest.raises(InputError, match=r"backbone\.depth: conv4 expects in_channels, width"):
        backbones.build({"name": "conv4", "depth": 3})


def test_in_channels_of_a_strangers_backbone():
    assert backbones.in_channels(torch.nn.Sequential(torch.nn.Conv2d(5, 2, 3))) == 5
    assert backbones.in_channels(torch.nn.Flatten()) is None


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_max_pool_without_gradient_is_torchs(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbones.max_pool(x), torch.nn.functional.max_pool2d(x, 2))
