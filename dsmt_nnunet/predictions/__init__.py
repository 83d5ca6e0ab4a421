"""What prediction leaves on disk, read and written in one place each: results, operating point, explanations."""
