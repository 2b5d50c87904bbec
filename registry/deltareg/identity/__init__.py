"""What a version is (manifest, fingerprint, lineage) and where its bytes lie (storage map)."""
