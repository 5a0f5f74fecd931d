"""The audit: a published version's numbers against a second implementation.

`independent` is that implementation, in NumPy and SciPy. It imports nothing of the rest of kvae, of
Keras or of TensorFlow; what is beside it finds the version, asks it, and compares.
"""
