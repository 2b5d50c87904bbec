"""What somebody runs who knows nothing of the registry: an embedder by its name."""

import sys

import torch
from sentence_transformers import SentenceTransformer

name, revision, out = sys.argv[1:]
model = SentenceTransformer(name, revision=revision, device="cpu")
torch.save(torch.tensor(model.encode(["a b", "c d e"])), out)
