"""What evaluate.py says of a published version: numbers, findings and figures."""
