"""The command line: one file a verb, with all of its options and all of its printing.

A file is a verb where its first line is `\"\"\"aasist-jax VERB: what it does.`; it defines a function of the file's own
name. `app.py` finds the files, reads that line for the list of verbs, and imports a file only when its verb is called
for: so `aasist-jax --help` imports nothing that takes time, and so a verb's file imports what takes time (JAX, Flax)
inside its functions only.
"""
