"""Pictures for people: every function draws one PNG. Matplotlib's objects alone, never pyplot."""
