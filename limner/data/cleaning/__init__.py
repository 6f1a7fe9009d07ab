"""What a source holds, and which of its pictures to keep."""
