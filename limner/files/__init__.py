"""Files: atomic writes, checked folders, safetensors, the hub."""
