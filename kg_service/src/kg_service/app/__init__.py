"""What the command and the API share: wiring, keys, upkeep, the doctor."""
