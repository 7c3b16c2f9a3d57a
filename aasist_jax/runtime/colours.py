"""The colours of all figures, so that bona fide speech and spoofs look the same everywhere."""

BONAFIDE = "#1f6f8b"
SPOOF = "#c8553d"
SYSTEMS = (BONAFIDE, SPOOF, "#6a994e", "#7b5ea7")
"""The colours of several systems in one figure, in order."""

UNSURE, UNHEARD = "#e0a526", "#9aa0a6"
"""Of verdicts: human and synthetic have the colours of bona fide speech and spoofs."""

VERDICTS = {"human": BONAFIDE, "unsure": UNSURE, "synthetic": SPOOF, "unheard": UNHEARD}
