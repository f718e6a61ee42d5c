"""Where a batch's similarities come from, how they are fetched ahead of time, and the targets that losses take."""
