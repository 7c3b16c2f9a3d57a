"""The families of detectors: the contract that each follows (`family.py`) and one folder per family."""
