"""Training of deblurring GANs: recipes, losses, discriminators, training data, and one trainer for all.

Needs torch, numpy, Pillow, safetensors and Lightning Fabric, and nothing else of the harness's dependencies.
"""
