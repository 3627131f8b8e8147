"""A training step in logarithms -> a kernel that does thousands of trainings at once.

    step.py      the ops of a step in a warp's memory
    kernel.py    the whole text: a warp a training, from start weights to the tests
    replicas.py  seeds through it, held against the reference; a GPU's steps a second
"""
