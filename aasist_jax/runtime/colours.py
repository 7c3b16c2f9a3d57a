"""The colours of every drawing, so that bona fide speech and spoofs look the same wherever they are drawn."""

BONAFIDE = "#1f6f8b"
SPOOF = "#c8553d"
SYSTEMS = (BONAFIDE, SPOOF, "#6a994e", "#7b5ea7")
"""Of several systems in one drawing, in their order."""
