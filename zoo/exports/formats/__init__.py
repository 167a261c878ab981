"""A module per format, found by its name. What a format calls its files is spelled in its module, and nowhere else."""
