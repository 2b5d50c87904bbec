"""The routes that clients of the Hugging Face Hub know, at the root of the server.

With `HF_ENDPOINT` set to the server's address and `HF_TOKEN` to a token, what downloads from the
hub downloads from here (docs/howto/hugging-face.md).
"""
