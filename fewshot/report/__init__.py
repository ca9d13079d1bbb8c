"""Reports: from scores to pages and pictures."""
