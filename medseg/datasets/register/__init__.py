"""Which side each patient stands on, for ever: none is trained on in one generation and tested on in the next."""
