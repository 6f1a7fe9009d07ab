"""What happens to pictures after they are drawn."""
