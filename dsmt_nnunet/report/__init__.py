"""One self-contained HTML page from the folders that `dsmt evaluate` wrote."""
