"""From activations to segments: thresholds, grouping, outer-inner contrast, NMS. numpy only."""
