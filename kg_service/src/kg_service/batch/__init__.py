"""Captions in any number to a snapshot: cut into shards, which any number of processes link, in a folder that all of them see."""
