"""What commands share: messages, progress, and the answer on stdout."""
