CREATE UNIQUE INDEX run_conflict_claim ON run_conflict (run_uuid, claim)
