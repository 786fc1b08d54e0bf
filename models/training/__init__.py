"""Training of heads from whole-video tags; timestamps are never read."""
