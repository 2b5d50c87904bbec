"""Collection, fsck, repair and statistics: what walks over everything stored."""
