"""`dsmt COMMAND`: one module a command, each with `add_parser`; what is heavy is imported when a command runs."""
