"""Pretrained encoders: the readers of their files, and what they compute."""
