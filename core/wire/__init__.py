"""The vocabularies of both wires as types, and the codecs that carry them: no translation, no policy."""
