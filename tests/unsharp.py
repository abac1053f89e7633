"""A small deblurer whose weights and code the gate's tests change."""

import torch
from torch import nn


class Net(nn.Module):
    """A small residual network, and what a change of the code may do to it."""

    after = staticmethod(lambda frames: frames)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 3, 5, padding=2))

    def forward(self, frames):
        return type(self).after(frames + self.body(frames))


def sharpening():
    """Weights with which the network adds 0.8 of what a pixel differs from its surroundings: a fair deblurring."""
    net, near = Net(), torch.full((5, 5), 1 / 25)
    centre = torch.zeros(5, 5)
    centre[2, 2] = 1
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for channel in range(3):
            for half, sign in enumerate((1, -1)):  # ReLU keeps one sign each
                net.body[0].weight[2 * channel + half, channel] = sign * (centre - near)
                net.body[2].weight[channel, 2 * channel + half] = sign * 0.8 * centre
    return net.state_dict()


def noise(name, tensor):
    torch.manual_seed(1)
    return tensor + 0.01 * torch.randn_like(tensor)


def half_a_pixel(frames):
    return (frames + nn.functional.pad(frames, (1, 0, 0, 0), "replicate")[..., :-1]) / 2
