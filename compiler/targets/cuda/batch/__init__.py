"""FixedModel -> one kernel for many streams at once; prompts in, ids out, on a GPU or interpreted.

    orders.py    which lane holds which feature of each value
    lowering.py  each op's lines
    kernel.py    the whole text: sixteen streams a warp, position by position
    streams.py   prompts through it, and what it costs
    throughput.py  what bounds it, and a GPU's tokens a second
"""
