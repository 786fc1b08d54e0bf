"""Inception-I3D against the published layer facts, and the registry's promises."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.backbones.inception_i3d import (
    END_POINTS,
    InceptionI3d,
    Pool,
    SamePool3d,
    Unit,
    Unit3d,
    fold_batch_norms,
    same_padding,
)
from models.backbones.pytorchvideo_rgb import PytorchvideoI3d
from models.backbones.registry import BACKBONES, build_backbone, load_backbone, random_weights
from models.catalog import i3d_r50_recipe, published_recipe
from models.errors import RecipeMismatch, WeightsInvalid
from models.recipe import FeatureRecipe

SMALL = FeatureRecipe(name="small", width=0.0625, stream_width=64, crop_px=32, short_side_px=32)
# Source: Carreira and Zisserman, figure 3, for 16 x 224 x 224; the frames halve four times.
PUBLISHED_MAPS = {
    "Conv3d_1a_7x7": (64, 8, 112, 112),
    "MaxPool3d_3a_3x3": (192, 8, 28, 28),
    "Mixed_3c": (480, 8, 28, 28),
    "MaxPool3d_4a_3x3": (480, 4, 14, 14),
    "Mixed_4f": (832, 4, 14, 14),
    "Mixed_5c": (1024, 2, 7, 7),
}


@pytest.fixture(autouse=True)
def _one_thread():
    # Two threads of torch wait for each other where other tests run beside them.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _randomize_batch_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


def test_published_size_and_parameter_names():
    with torch.device("meta"):
        network = InceptionI3d(in_channels=3)
    state = network.state_dict()
    # Source: counted in piergiaj/pytorch-i3d's own network with 400 classes.
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264
    assert len(state) == 344
    assert tuple(state["Conv3d_1a_7x7.conv3d.weight"].shape) == (64, 3, 7, 7, 7)
    assert tuple(state["Mixed_4b.b2a.conv3d.weight"].shape) == (16, 480, 1, 1, 1)
    assert tuple(state["Mixed_5c.b1b.bn.running_var"].shape) == (384,)
    assert tuple(state["logits.conv3d.weight"].shape) == (400, 1024, 1, 1, 1)
    assert tuple(state["logits.conv3d.bias"].shape) == (400,)
    assert "Mixed_5c.b3b.conv3d.bias" not in state
    assert network.feature_width == 1024
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    assert len(norms) == 57
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 7, 2, (2, 3)), (15, 7, 2, (3, 3)), (112, 3, 2, (0, 1)), (7, 3, 2, (1, 1)),
     (7, 2, 2, (0, 1)), (8, 2, 2, (0, 0)), (9, 3, 1, (1, 1)), (5, 1, 1, (0, 0)), (6, 1, 2, (0, 0))],
)  # fmt: skip
def test_same_padding(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [(4, 9, 12), (5, 8, 7), (3, 3, 3)])
@pytest.mark.parametrize("name", [n for n, end in END_POINTS.items() if isinstance(end, Pool)])
def test_pools_equal_pooling_after_zero_padding(name, size):
    pool = END_POINTS[name]
    assert isinstance(pool, Pool)
    x = torch.rand(2, 3, *size)
    pads = [same_padding(*each) for each in zip(size, pool.kernel, pool.stride, strict=True)]
    padded = F.pad(x, [zeros for pair in reversed(pads) for zeros in pair])
    expected = F.max_pool3d(padded, pool.kernel, pool.stride)
    torch.testing.assert_close(SamePool3d(pool)(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(16, 12, 14), (5, 9, 8)])
def test_strided_convolution_pads_more_behind(size):
    torch.manual_seed(0)
    unit = Unit3d(3, Unit(4, (7, 7, 7), (2, 2, 2))).eval()
    x = torch.randn(1, 3, *size)
    pads = [same_padding(one, 7, 2) for one in size]
    padded = F.pad(x, [zeros for pair in reversed(pads) for zeros in pair])
    expected = F.relu(unit.bn(F.conv3d(padded, unit.conv3d.weight, None, 2)))
    assert tuple(expected.shape[2:]) == tuple(-(-one // 2) for one in size)
    torch.testing.assert_close(unit(x), expected)


def test_maps_have_published_sizes_and_features_are_the_published_pool():
    torch.manual_seed(0)
    network = InceptionI3d(in_channels=3, width=0.0625, num_classes=5).eval()
    x = torch.rand(1, 3, 16, 224, 224) * 2 - 1
    with torch.inference_mode():
        features = network.forward_features(x)
        for name in END_POINTS:
            x = network.get_submodule(name)(x)
            if name in PUBLISHED_MAPS:
                channels, *sizes = PUBLISHED_MAPS[name]
                assert list(x.shape[1:]) == [channels // 16, *sizes], name
        pooled = F.avg_pool3d(x, (2, 7, 7), 1)
        logits = F.conv3d(pooled, network.logits.conv3d.weight, network.logits.conv3d.bias)
        assert tuple(pooled.shape) == (1, 64, 1, 1, 1)
        torch.testing.assert_close(features, pooled.flatten(1))
        torch.testing.assert_close(network.logits(features), logits.flatten(1))


def test_a_crop_of_112_pools_its_whole_map():
    network = InceptionI3d(in_channels=2, width=0.0625).eval()
    x = torch.rand(2, 2, 16, 112, 112)
    with torch.inference_mode():
        maps = x
        for name in END_POINTS:
            maps = network.get_submodule(name)(maps)
        assert tuple(maps.shape) == (2, 64, 2, 4, 4)
        torch.testing.assert_close(network.forward_features(x), maps.mean(dim=(2, 3, 4)))


def test_folding_and_channels_last_change_nothing_but_rounding():
    torch.manual_seed(0)
    network = InceptionI3d(in_channels=3, width=0.0625).eval()
    _randomize_batch_norms(network)
    x = torch.rand(2, 3, 16, 48, 40) * 2 - 1
    with torch.inference_mode():
        expected = network.forward_features(x)
        fold_batch_norms(network)
        assert not any(isinstance(module, nn.BatchNorm3d) for module in network.modules())
        torch.testing.assert_close(network.forward_features(x), expected, rtol=1e-4, atol=1e-5)
        last = x.contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(network.forward_features(last), expected, rtol=1e-4, atol=1e-5)
    assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_loads_strictly_and_gives_its_recipes_width(name):
    recipe = SMALL if name == "inception_i3d" else i3d_r50_recipe()
    assert recipe.backbone == name
    state = random_weights(recipe)["rgb"]
    network = load_backbone(recipe, "rgb", state)
    clip = torch.rand(1, 3, recipe.window_frames, 64, 64) * 2 - 1
    with torch.inference_mode():
        features = network.forward_features(clip)  # type: ignore[operator]
        assert tuple(features.shape) == (1, recipe.stream_width)
        assert torch.isfinite(features).all()
        assert tuple(network(clip).shape) == (1, 400)
    broken = dict(state)
    removed = next(iter(broken))
    del broken[removed]
    with pytest.raises(WeightsInvalid, match=removed):
        load_backbone(recipe, "rgb", broken)


def test_pytorchvideo_features_equal_its_own_head():
    network = PytorchvideoI3d().eval()
    x = torch.rand(1, 3, 8, 224, 224)
    with torch.inference_mode():
        maps = (x + 1) / 2
        maps = (maps - 0.45) / 0.225
        for block in network.blocks[:-1]:
            maps = block(maps)
        pooled = network.blocks[-1].get_submodule("pool")(maps)
        torch.testing.assert_close(network.forward_features(x), pooled.flatten(1))


def test_a_recipe_that_no_backbone_fits_is_refused():
    with pytest.raises(RecipeMismatch, match="resnet"):
        build_backbone(dataclasses.replace(SMALL, backbone="resnet"), "rgb")
    with pytest.raises(RecipeMismatch, match="64"):
        build_backbone(dataclasses.replace(SMALL, stream_width=1024), "rgb")
    with pytest.raises(RecipeMismatch, match="flow"):
        build_backbone(i3d_r50_recipe(), "flow")


def test_random_weights_are_a_function_of_the_seed():
    before = torch.random.get_rng_state()
    first, again, other = (random_weights(SMALL, seed)["flow"] for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["logits.conv3d.weight"], other["logits.conv3d.weight"])
    assert published_recipe().feature_width == 2048
