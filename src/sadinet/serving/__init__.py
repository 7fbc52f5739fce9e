"""Poses over HTTP: a service and a page in front of it."""
