"""Kernels in 6502 assembly."""
