"""Anything with pictures in it, as upright frames; drawn videos."""
