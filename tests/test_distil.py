"""First weights of a network whose innermost level is narrower than its teacher's."""

import pytest
import torch

from deblurers import fastsrn, fastsrn_task_small, srn
from detbench import registry
from detbench.data.images import write_image
from detbench.gan import distil


def test_the_innermost_level_is_what_the_network_computes_there():
    torch.manual_seed(0)
    net = fastsrn_task_small.SmallFastSRN().eval()
    blurred = torch.rand(2, 3, 64, 96)
    given, wanted = distil._features(net, blurred)
    assert given.shape == wanted.shape == (2, 64, 8, 12)
    replaced = net.layers["dec2_4"].register_forward_hook(lambda *_: wanted)
    same, _ = net(blurred), replaced.remove()
    torch.testing.assert_close(net(blurred), same)


def test_the_level_learns_and_no_other_does(tmp_path, monkeypatch):
    monkeypatch.setattr(distil, "CROPS", 4)
    monkeypatch.setattr(distil, "BATCH", 2)
    photo = torch.randint(0, 255, (300, 320, 3), dtype=torch.uint8).numpy()
    write_image(tmp_path / "photo.png", photo)
    net = distil.distil([tmp_path], iterations=3, seed=0).state_dict()
    torch.manual_seed(0)
    fastsrn_task_small.SmallFastSRN(srn.WIDTHS)  # the teacher's turn to draw weights comes first
    begun = fastsrn_task_small.SmallFastSRN()
    begun.adopt(registry.load("fastsrn_task").build().state_dict())
    for name, tensor in begun.state_dict().items():
        inner = name.startswith(fastsrn_task_small.INNERMOST)
        assert torch.equal(tensor, net[name]) != inner, name


def test_its_error_falls():
    torch.manual_seed(0)
    wide, net = fastsrn_task_small.SmallFastSRN((32, 64, 32)), fastsrn_task_small.SmallFastSRN((32, 64, 8))
    given, wanted = distil._features(wide, torch.rand(4, 3, 64, 64))
    wanted = 1 + 0 * wanted  # which any level can learn
    first = distil.fit(net, given, wanted, iterations=1)
    assert distil.fit(net, given, wanted, iterations=60) < first
    level = distil._innermost(net)
    assert float((level(given) - wanted).detach().square().mean()) < 0.25 * first


def test_weights_of_another_network_are_refused():
    with pytest.raises(RuntimeError):
        fastsrn_task_small.SmallFastSRN().adopt(fastsrn.FastSRN((8, 16, 32)).state_dict())
