"""Kernels in MACRO-11."""
