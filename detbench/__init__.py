"""detbench: does a deblurrer help a detector see?"""

__version__ = "0.1.0"
