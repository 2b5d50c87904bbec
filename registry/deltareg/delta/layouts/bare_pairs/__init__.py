"""LoRA files without a config: pairs of factors, the scale in a tensor beside them or one.

The layouts of image trainers are such files. A layout's kind takes names apart; everything after
that is here.
"""
