"""`dsmt COMMAND`: one module a command, each with `add_parser`; torch is imported when a command runs."""
