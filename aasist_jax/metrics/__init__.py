"""The metrics of the spoofing challenges: NumPy in, NumPy out, no I/O.

Every metric takes the scores of the two classes, `metric(bonafide, spoof)`; higher scores mean bona fide. The
form `metric_of(curve)` takes error counts, of one set of trials or of many resamples at once.
"""
