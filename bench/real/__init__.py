"""Real benchmark: heads trained from tags of real video, measured against simple opponents."""
