"""What predicts the slides of a run: this process, worker processes, a Dask cluster."""
