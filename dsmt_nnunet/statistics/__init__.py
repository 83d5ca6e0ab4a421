"""Arrays in, dataclasses out; nothing here knows of nodules, files or torch."""
