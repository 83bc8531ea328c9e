CREATE INDEX xalt_field_of_science_account ON xalt_field_of_science {{.Index "account" 64}}
