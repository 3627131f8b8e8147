"""The meaning of every contract, in numpy integers."""
