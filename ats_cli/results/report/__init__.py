"""The report of a run: one HTML file that needs no other file, no network and no program but a browser."""
