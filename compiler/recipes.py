"""What a program text may say about training: tasks, optimizers, and their settings.

To add a task: a row in TASKS, its data in data.py.
"""

# Task -> its setting.  Those with a length map a sequence of seq_len tokens to another one.
TASKS = {
    "reverse": "length",  # the sequence backwards
    "copy": "length",  # the same again
    "sort": "length",  # from the smallest to the largest
    "sum": "length",  # at every place, the sum of the sequence modulo vocab_size
    "next": "corpus",  # the next token of a text
    "answer": "corpus",  # lines of a text, `question | answer`, in the model's template
}
SEQUENCE_TASKS = tuple(name for name, setting in TASKS.items() if setting == "length")

OPTIMIZERS = ("sgd", "adam")
RECIPE: dict[str, type | tuple[type, ...]] = {  # a parameter's name sets its own rate
    "steps": int,
    "rate": (int, float),
    "batch": int,
    "clip": (int, float),  # gradients beyond it are cut, element by element
    "decay": (int, float),  # the share of each rate that is gone by the last step, evenly
    "window": int,  # steps between two reports
}
