"""What limner serves over HTTP."""
