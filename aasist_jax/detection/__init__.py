"""The Detector, and what scores files, streams and data sets with it."""
