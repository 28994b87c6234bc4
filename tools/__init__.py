"""What the repository runs on itself; nothing that is shipped imports it."""
