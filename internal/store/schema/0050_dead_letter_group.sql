CREATE INDEX dead_letter_group ON dead_letter (group_id)
