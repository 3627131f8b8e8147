"""What a program text may say about training: tasks, optimizers, and their settings.

To add a task: a row in TASKS, its data in data.py.
"""

# Task -> its setting.  All but `next` map a sequence of seq_len tokens to another one.
TASKS = {
    "reverse": "length",  # the sequence backwards
    "copy": "length",  # the same again
    "sort": "length",  # from the smallest to the largest
    "sum": "length",  # at every place, the sum of the sequence modulo vocab_size
    "next": "corpus",  # the next token of a text
}
SEQUENCE_TASKS = tuple(name for name in TASKS if name != "next")

OPTIMIZERS = ("sgd", "adam")
RECIPE = {  # setting -> types; a parameter's name sets its own rate
    "steps": int,
    "rate": (int, float),
    "batch": int,
    "clip": (int, float),  # gradients beyond it are cut, element by element
    "window": int,  # steps between two reports
}
