"""What is said of a run: in a terminal, in files, by the doctor."""
