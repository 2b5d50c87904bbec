"""What clients of the Hugging Face Hub ask for: repositories, revisions, files, and their bytes.

A repository is a delta or a base, a commit is a version. Nothing here writes.
"""
