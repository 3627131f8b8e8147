"""The PDP-11."""
