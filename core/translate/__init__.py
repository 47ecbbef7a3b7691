"""From one vocabulary to the other: requests, answers, streams, errors. Usable alone: it knows the wires and the dialects, nothing else."""
