"""LoRA files without a config: pairs of factors, with the scale in a tensor beside them or one.

The layouts of image trainers are such files. A layout's kind parses the names; everything after
that is here.
"""
