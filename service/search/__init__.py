"""Search over everything that was found: rows of segments, finding them, saved searches."""
