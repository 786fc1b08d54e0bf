"""bench.gpu without a GPU: every path runs at tiny sizes, and the formulas count what they say."""

import json

import pytest
import torch

from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

pytest.importorskip("cv2", reason="the bench draws its frames by OpenCV")

from bench.gpu import DRY_SIZES as SIZES
from bench.gpu import NO_DEVICE_STATUS, load_frames, main
from bench.gpu_frames import MemoryVideo, draw_frames
from bench.gpu_roofline import (
    Work,
    bytes_per_pixel_iteration,
    convolution_work,
    other_bytes_per_pair,
    torch_operations,
)


@pytest.mark.slow
def test_every_path_is_ready_to_run(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    main(["--dry", "--json", str(tmp_path / "gpu.json")])
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    for name in (
        "peak_bf16_flops",
        "peak_bytes_per_second",
        "tvl1_pairs_per_second",
        "tvl1_roofline_pairs_per_second",
        "i3d_rgb_windows_per_second",
        "i3d_flow_share_of_peak",
        "device_path_frames_per_second",
        "extraction_frames_per_second",
        "raft_large_pairs_per_second",
        "raft_small_roofline_pairs_per_second",
    ):
        assert figures[name] > 0, name
    assert figures["tvl1_alone_changes_a_bit"] is False


def test_says_that_there_is_no_device(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == NO_DEVICE_STATUS
    assert "CUDA device" in capsys.readouterr().err


def test_convolutions_are_counted():
    network = torch.nn.Conv3d(3, 8, (1, 2, 3), bias=False, device="meta")
    clip = torch.empty((1, 3, 4, 9, 9), device="meta")
    work = convolution_work(lambda: network(clip))
    outputs = 8 * 4 * 8 * 7
    assert work.operations == 2 * outputs * 3 * 2 * 3
    assert work.num_bytes == 2 * (3 * 4 * 81 + outputs + 8 * 3 * 2 * 3)
    assert torch_operations(lambda: network(clip)) == work.operations


def test_more_iterations_per_pass_move_less():
    wide = 10_000
    once, often = (bytes_per_pixel_iteration(Cut(count, 64), wide) for count in (1, 4))
    # Sixteen planes of four bytes, and a little for the overlap of tiles.
    assert 64 < once < 70
    assert often < once / 3
    recipe = FlowRecipe(num_scales=1, num_warps=2)
    assert other_bytes_per_pair(recipe, 10, 20) == 200 * 4 * (4 + 2 * 14)
    assert Work(10, 100).seconds(1.0, 20.0) == 10
    assert Work(10, 100).seconds(5.0, 20.0) == 5


def test_frames_move_and_end():
    frames, source = load_frames(SIZES, None)
    assert frames.shape == (17, 24, 32, 3)
    assert "drawn" in source
    assert (frames[1:] != frames[:-1]).any(axis=(1, 2, 3)).all()
    assert (draw_frames(3, 24, 32) == frames[:3]).all()
    video = MemoryVideo(frames, 25.0, 40)
    assert video.facts.duration_seconds == 1.6
    assert video.read(30, 50).shape[0] == 10
    assert (video.read(17, 18) == frames[:1]).all()
