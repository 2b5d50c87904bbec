"""Backups that run now."""

import sqlalchemy as sa

from deltareg.db.tables.metadata import count, created_at, metadata, uuid_id

# As long as one of them is held, collection deletes no object: the backup may still have to copy it.
# A process that was killed holds nothing back once its time is over.
backup_holds = sa.Table("backup_holds", metadata, uuid_id(), created_at(), count("held_until"))
