"""What `metrics.json` and `curves.json` hold, as dataclasses: the schema of both files."""
