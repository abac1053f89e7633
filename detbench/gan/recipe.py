"""What to train, as plain data: a recipe says what, ``detbench.gan.train`` does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """How one deblurer is trained; dumped as JSON into every checkpoint.

    Attributes:
        content: weight of each content loss, by its name in ``detbench.gan.losses.CONTENT``.
        adversarial: name of the adversarial loss in ``detbench.gan.losses.ADVERSARIAL``; None for no discriminator.
        adversarial_weight: of the generator's adversarial loss beside the content losses.
        gradient_penalty: weight of WGAN-GP's penalty in the discriminator's loss.
        penalty_per_pixel: take the penalty's norm per pixel, as DeblurGAN's code does by mistake.
        discriminator: ``kind`` in ``detbench.gan.discriminators.KINDS`` and its other keyword arguments.
        l1_until: fraction of the iterations up to which 100 times L1 trains the generator alone, whatever the recipe's
            own losses: recipes that differ in these only may share a checkpoint up to there.
        adversarial_from: fraction of the iterations after which the discriminator joins; the content losses alone train
            the generator before, one update a batch.
        discriminator_steps: updates of the discriminator an iteration.
        generator_steps: updates of the generator an iteration, on the same batch.
        iterations: until the learning rate reaches zero.
        schedule: ``linear``, constant up to ``decay_from`` and then falling along a line, or ``cosine``, falling along
            half a cosine from the first iteration; either reaches zero at the last.
        decay_from: fraction of the iterations after which the learning rate falls, of the linear schedule.
        warmup: iterations over which the learning rate rises from zero, along a line.
        learning_rate: of both networks' optimizers.
        optimizer: of the generator, by its name in ``detbench.gan.step.OPTIMIZERS``; the discriminator's is Adam.
        clip_gradient: largest norm of the generator's gradient, which is scaled down to it; 0 for no limit.
        betas: of Adam.
        batch: pairs an iteration, on each device: two devices see what one with twice as many sees.
        crop: side of the square training crops, in pixels.
        noise_variance: Gaussian noise on the blurred crops has a variance drawn from U(0, this), for values in [0, 1].
        noise_share: share of the crops that get such noise.
        jpeg_share: share of the blurred crops that get artefacts like those of JPEG's quantisation.
        real_pairs: share of the batch drawn from real (blurred, sharp) pairs where there are any.
        redraw_above: PSNR in dB of a pair's crop above which another is drawn, as nothing moved in it; 0 for never.
        shaken_pairs: share of the pairs' crops whose blurred side is shaken besides, as the averaged frames of a video
            mostly show what moves before a camera that rests.
        object_motion: share of the synthesised crops in which an object moves.
        uniform_blur: share of the synthesised crops that are convolved with one kernel, without rotation; the rest is
            camera shake with rotation.
        object_crops: share of the crops of photographs and of pairs that are cut around an object that the first
            detector finds in the sharp picture, where there is any.
        blur_extent: smallest and largest extent of the synthesised blur, in pixels.
        ema: decay of the running mean of the generator's weights that is validated and shipped; 0 for none. It starts
            lower, so that the first weights are soon forgotten.
        detector: names or files of frozen detectors whose view of the sharp crops is a further target
            (:mod:`detbench.gan.detector`), by their mean; empty for none. Weights are then chosen by what these
            detectors see in whole validation frames, not by PSNR.
        detector_features: weight of the term that compares feature maps.
        detector_classes: weight of the term that compares class probabilities.
        detector_boxes: weight of the term that compares boxes.
        detector_imgsz: the longer side in pixels to which the detector will scale whole frames: crops are shown to it
            at the same scale. None shows them as they are.
        detector_zoom: least and largest of the factor, drawn for each crop, by which it is enlarged besides: detectors
            look at small frames enlarged, and then other things count.
        sharp_share: share of the crops that are left sharp, so that what is trained does not forget these.
        teacher: a deblurer whose restored crops are a further target; None for none.
        teacher_weight: of L1 between restored crops and the teacher's.
        init_from: a deblurer, or a weights file, that the generator's first weights are taken from, in place of
            ``init``; None for none.
        init: ``normal`` for weights ~ N(0, 0.02) and scales ~ N(1, 0.02); ``he`` for He's initialisation, which a
            network without normalisation needs, and a last layer near zero, so that a global skip starts by copying.
        setting: ``corrected``, or ``faithful`` to the published code where that differs, or ``oracle`` where the text
            trains on what nobody has at test time: the generator is then given the sharp crops as a second argument.
    """

    content: Mapping[str, float]
    adversarial: str | None = None
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    adversarial_weight: float = 1.0
    gradient_penalty: float = 0.0
    penalty_per_pixel: bool = False
    l1_until: float = 0.0
    adversarial_from: float = 0.0
    discriminator_steps: int = 1
    generator_steps: int = 1
    iterations: int = 100_000
    schedule: str = "linear"
    decay_from: float = 0.5
    warmup: int = 0
    learning_rate: float = 2e-4
    optimizer: str = "adam"
    clip_gradient: float = 0.0
    betas: tuple[float, float] = (0.5, 0.999)
    batch: int = 1
    crop: int = 256
    noise_variance: float = 0.0
    noise_share: float = 1.0
    jpeg_share: float = 0.0
    real_pairs: float = 0.25
    redraw_above: float = 0.0
    shaken_pairs: float = 0.0
    object_motion: float = 0.25
    uniform_blur: float = 0.0
    object_crops: float = 0.0
    blur_extent: tuple[float, float] = (1.0, 20.0)
    ema: float = 0.0
    detector: tuple[str, ...] = ()
    detector_features: float = 0.0
    detector_classes: float = 0.0
    detector_boxes: float = 0.0
    detector_imgsz: int | None = None
    detector_zoom: tuple[float, float] = (1.0, 1.0)
    sharp_share: float = 0.0
    teacher: str | None = None
    teacher_weight: float = 0.0
    init_from: str | None = None
    init: str = "normal"
    setting: str = "corrected"

    @property
    def shared_iterations(self) -> int:
        """How many of the first iterations train with L1 alone."""
        return round(self.l1_until * self.iterations)
