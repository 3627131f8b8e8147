"""The integer reference, run by numpy."""
