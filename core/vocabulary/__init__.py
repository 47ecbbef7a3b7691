"""Token vocabularies, packed: data only, read by ``core.tokens``.

``NAME.xz`` holds the vocabulary NAME of tiktoken (copyright OpenAI, MIT licence): the lengths of all tokens, one byte each, then
their bytes in rank order, xz-compressed. ``benchmarks/pack_vocabulary.py`` makes it and gives the original file back.
"""
