"""What each term of the loss brings: a table."""

import dataclasses

from detbench import registry
from detbench.gan import ablation


def test_the_ablations_table_has_the_mean_and_the_range_of_seeds():
    class Run:
        def __init__(self, f1, psnr):
            self.f1, self.psnr = f1, psnr

        def mean(self, measure):
            assert measure == "psnr_db"
            return self.psnr

    found = {
        "blurred": [[Run(0.5, 20.0), Run(0.25, 20.0), Run(0.125, 20.0)]],
        "all": [[Run(0.6, 21.0), Run(0.3, 21.0), Run(0.2, 21.0)], [Run(0.8, 23.0), Run(0.5, 23.0), Run(0.2, 23.0)]],
    }
    assert ablation.table(found).splitlines()[2:] == [
        "| blurred | 0.500 | 0.250 | 0.125 | 20.00 |",
        "| all | 0.700 (0.600 to 0.800) | 0.400 (0.300 to 0.500) | 0.200 (0.200 to 0.200) | 22.00 (21.00 to 23.00) |",
    ]
    recipe = registry.get(ablation.NAME).presets["default"].recipe
    assert [dataclasses.replace(recipe, **changes) == recipe for changes in ablation.VARIANTS.values()].count(True) == 1
