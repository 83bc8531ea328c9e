-- Records that were read before, and what became of them (ingest.Fate).
CREATE TABLE ingest_identity (
  id {{.Hash}} NOT NULL PRIMARY KEY,
  fate {{.Int}} NOT NULL,
  selection {{.Hash}}
){{.Clustered}}
