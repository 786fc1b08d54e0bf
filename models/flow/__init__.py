"""Optical flow between grid neighbours: one interface, a native kernel and the OpenCV reference."""
