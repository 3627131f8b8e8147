"""Weights, keys and values in a RAM expansion: fetched a row at a time, used from the zero page."""
