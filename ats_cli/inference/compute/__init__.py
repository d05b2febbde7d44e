"""Devices and precision, forward passes in threads, memory and time."""
