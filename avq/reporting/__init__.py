"""Records to tables, verdicts and pictures. Nothing here trains."""
