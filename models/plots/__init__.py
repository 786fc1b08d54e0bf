"""Timelines as pictures: one layout, drawn as SVG by numpy and text alone, as PNG by Pillow."""
