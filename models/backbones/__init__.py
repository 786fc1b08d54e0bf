"""Networks that turn a window of frames into one feature vector."""
