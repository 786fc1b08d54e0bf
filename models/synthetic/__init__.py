"""Draws labelled untrimmed videos of articulated figures, deterministic from a seed."""
