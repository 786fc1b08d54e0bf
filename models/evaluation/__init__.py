"""Average precision of timed segments against ground truth."""
