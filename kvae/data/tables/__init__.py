"""Tables of numbers, from NumPy's files and from text."""
