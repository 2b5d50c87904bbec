"""The sources of live networks from a base's files, one module each.

- `transformers_class`: the class that `config.json` names; most bases.
- `sentence_pooling`: the same, and what sentence-transformers' `modules.json` puts after it.
- `diffusers_class`: a single model of diffusers.
- `pipeline`: several of these side by side, as `model_index.json` lists them.
"""

from deltareg_verify.engine.torch_engine.networks.loading import LoadReport
from deltareg_verify.engine.torch_engine.networks.maker import make_network, told_dtype

__all__ = ["LoadReport", "make_network", "told_dtype"]
