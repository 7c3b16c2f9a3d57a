"""From scores to log-likelihood ratios."""
