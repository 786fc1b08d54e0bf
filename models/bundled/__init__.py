"""The demonstration model shipped with the package, and the recipe that makes it."""
