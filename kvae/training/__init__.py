"""What train.py does, from a configuration to a published version."""
