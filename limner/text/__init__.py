"""Text: normalising prompts and turning them into token ids."""
