"""identity: gives every frame back as it is: the floor that a deblurer has to rise above."""

from torch import nn

from detbench.types import DeblurerSpec

SPEC = DeblurerSpec(build=nn.Identity)
