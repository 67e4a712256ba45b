"""Recordings of other programs (MCAP, rosbag2, CSV, Parquet, HDF5) become a log of this project, with a report."""
