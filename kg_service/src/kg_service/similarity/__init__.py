"""Image vectors to similarities: the kernel and its memory."""
