"""What commands share: options, output, progress, help, messages and exit codes."""
