"""The routes that clients of the Hugging Face Hub know, at the root of the server.

With `HF_ENDPOINT` set to the server's address and `HF_TOKEN` to a token, programs that download
from the hub download from this server (docs/howto/hugging-face.md).
"""
