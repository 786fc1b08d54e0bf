"""Bridges: finished segments in the dashboards people already have. Shapes and cursors."""
