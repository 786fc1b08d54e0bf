"""Checkpoints published by others become models of ours: every key named, or nothing written."""
