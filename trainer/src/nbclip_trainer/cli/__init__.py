"""The command `nbclip`: a file for each part of the walk."""
