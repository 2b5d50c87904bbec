"""Collection, fsck, repair and statistics: all that walk over everything stored."""
