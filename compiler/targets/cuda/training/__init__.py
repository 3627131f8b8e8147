"""A training step in logarithms -> a kernel that does thousands of trainings at once.

    fusion.py          the step's ops, those together that need not keep what they give
    codes.py           the codes that are multiplied, and what brings products to scale
    sizes.py, step.py  the ops in a warp's memory
    kernel.py          the whole text: a warp a training, from start weights to the tests
    replicas.py        seeds through it, held against the reference
    multiprocessor.py  the assembled step, by as many warps as there are at once
    throughput.py      steps a second: bounds, an estimate, and a GPU's
"""
