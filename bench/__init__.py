"""Programs that measure Kinetag; each prints its figures and writes them as one JSON object."""
