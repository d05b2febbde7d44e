"""Runs over many slides: requests, settings, predictions and evaluations."""
