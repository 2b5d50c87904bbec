"""Extraction: the LoRA that comes nearest to what a fine-tune changed, and how far that is."""
