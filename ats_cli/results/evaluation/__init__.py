"""Metrics of an evaluation with their intervals, tables and plots."""
