CREATE UNIQUE INDEX link_conflict_digest ON link_conflict (uuid, digest)
