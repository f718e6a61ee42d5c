"""The losses of `nbclip.losses` as settings choose them: a file for each, and one line in `table`."""
