"""Training's twin of post-processing: predictions and labels to losses."""
