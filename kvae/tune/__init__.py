"""A search over options of a run, by the ELBO of the valid split."""
