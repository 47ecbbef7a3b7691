"""Contact with the world: what performs the core's effects, and what listens, connects, reads settings and writes logs."""
