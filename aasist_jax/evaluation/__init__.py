"""Score files, tables, plots and reports on top of the metrics."""
