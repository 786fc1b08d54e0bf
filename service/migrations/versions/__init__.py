"""One module per released schema change, in order."""
