"""fastsrn_task_gan: fastsrn_task, and DeblurGAN's adversarial loss: does it help the detector?

From :mod:`deblurers.fastsrn_task`'s weights on, by the same recipe beside the unconditional critic and WGAN-GP of
:mod:`deblurers.deblurgan_comb`, one critic step a batch. The critic joins after a tenth of the iterations. Its weight,
1 beside 50 L1 of values in [-1, 1], is our choice: DeblurGAN has 1 beside 100 times its perceptual loss.
"""

from dataclasses import replace

from . import deblurgan_comb, fastsrn_task

RECIPE = replace(
    fastsrn_task.RECIPE,
    adversarial="wgan",
    gradient_penalty=10.0,
    discriminator={**deblurgan_comb.PAPER.discriminator, "width": 32},
    adversarial_from=0.1,
    init_from="fastsrn_task",
    learning_rate=2.5e-5,
    iterations=1_200,
)

SPEC = replace(
    fastsrn_task.SPEC,
    presets={"default": replace(fastsrn_task.SPEC.presets["default"], recipe=RECIPE)},
)
