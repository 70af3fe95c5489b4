"""Scripts that run inside the official package's environment; nothing of ours imports them."""
