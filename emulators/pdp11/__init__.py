"""The PDP-11 processors and machines."""
