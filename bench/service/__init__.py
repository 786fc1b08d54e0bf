"""What the service costs: polls, readers, uploads, thresholds after the fact."""
