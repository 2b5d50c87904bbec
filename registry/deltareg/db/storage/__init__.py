"""Packs, stored forms and uploads, and whether their bytes are proven."""
