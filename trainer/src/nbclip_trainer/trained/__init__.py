"""What a run leaves: its model, loaded again or exported."""
