"""Writes the sound inputs of the targets: `python -m tests.fuzz.write_corpus`. What is there stays."""

from tests.fuzz import sound_documents, sound_files

if __name__ == "__main__":
    sound_documents.write()
    sound_files.write()
