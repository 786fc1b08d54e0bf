"""Other people's features and annotations, read safely. Owns file layouts; trains nothing."""
