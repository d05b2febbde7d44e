"""The run folder of `ats predict -o`, and how runs are merged."""
