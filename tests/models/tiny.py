"""A tiny AASIST, quick to compile, for tests that need a model and not the official one."""

from aasist_jax.models.aasist import AASISTConfig

SAMPLES = 4600
"""Two temporal nodes."""

CONFIG = AASISTConfig(
    nb_samp=SAMPLES,
    first_conv=8,
    filts=(24, (1, 3), (3, 3), (3, 4), (4, 4)),
    gat_dims=(4, 5),
    pool_ratios=(0.5, 0.7, 0.5, 0.5),
    temperatures=(2.0, 2.0, 100.0, 100.0),
)
