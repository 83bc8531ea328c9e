CREATE INDEX xalt_account_account ON xalt_account {{.Index "account" 64}}
