"""A network's layers below what the machine can do (Williams, Waterman and Patterson, CACM 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from detbench.report.style import BLACK, BLUE, VERMILION, empty_figure, legend, styled

if TYPE_CHECKING:
    from detbench.bench import Bench


@styled
def roofline(found: Bench) -> Figure:
    """GFLOP/s of each layer against its operations a byte; the larger a point, the more it computes.

    Args:
        found: as from :func:`detbench.bench.bench`.
    """
    figure = empty_figure(2.6)
    axes = figure.subplots()
    layers = found.layers
    intensity = np.array([layer.intensity for layer in layers])
    span = np.geomspace(min(intensity.min(), 1.0) / 2, intensity.max() * 2, 200)
    roof = np.minimum(found.fp32_gflop_per_s, found.memory_gb_per_s * span)
    (line,) = axes.plot(span, roof, color=BLACK, label="roof: memory, then matrices (fp32)")
    most = max(layer.gflop for layer in layers)
    points = axes.scatter(
        intensity,
        [layer.gflop_per_s for layer in layers],
        s=[4 + 60 * layer.gflop / most for layer in layers],
        color=BLUE,
        alpha=0.6,
        linewidths=0,
        label=f"layers of {found.spec.deblurer} (torch, fp32)",
    )
    handles = [line, points]
    for stage in found.stages:
        if stage.name == "deblurring: network" and stage.gflop_per_s:
            name = f"as a whole: {found.spec.backend}, {found.spec.precision}"
            handles.append(axes.axhline(stage.gflop_per_s, color=VERMILION, linestyle="--", label=name))
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    legend(figure, handles)
    return figure
