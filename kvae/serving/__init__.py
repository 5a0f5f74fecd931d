"""What a published version is: its place, its signatures, its graph."""
