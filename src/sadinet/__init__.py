"""Human pose estimation with SADI-Net."""

__version__ = "0.1.0"
