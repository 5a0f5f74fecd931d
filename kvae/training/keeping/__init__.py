"""What outlives a process of training: checkpoints, best weights, and whether a run goes on."""
