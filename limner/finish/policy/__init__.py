"""Which prompts are refused: open lists of terms, found through disguises, and hooks."""
