"""What a program needs around its work: memory, progress, downloads."""
