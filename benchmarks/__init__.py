"""Measured claims: each script prints one JSON line and compares with its baseline in the same run."""
