"""Packs, stored forms and uploads, and what is known of their bytes."""
