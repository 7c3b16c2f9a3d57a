"""Evaluation: score files, tables, plots and reports with the metrics."""
