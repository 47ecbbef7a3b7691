"""What the simulated upstream answers: pure functions from a request to a script of steps.

::

    request body --messages.read / chat.read--> Question      what is asked, wire-neutral
    Question     --answers.*----------------->  Answer        blocks and a stop reason, wire-neutral
    Answer       --messages.* / chat.*------->  frames        the wire's own words, one event each
    frames       --deliveries.*-------------->  Script        heads, bytes, pauses, cuts

``scenarios`` is the table that says, per model name, which answer, which bend of the frames and which delivery;
``scripts`` puts the four together. Nothing here touches a socket, a clock or chance: the same request always gives the
same bytes. ``transports.simulator`` performs the scripts.
"""
