"""A small corpus of real human and synthesised speech, built from free packages in the ASVspoof 2019 LA layout."""

from aasist_jax.corpus.build import CorpusSummary, build_corpus
from aasist_jax.corpus.plan import ClipCounts

__all__ = ["ClipCounts", "CorpusSummary", "build_corpus"]
