"""Several devices, and several machines, that make each step together."""
