"""The paper's two tables run again: arms × seeds, resumable, with the paper's rows beside ours and their order judged."""
