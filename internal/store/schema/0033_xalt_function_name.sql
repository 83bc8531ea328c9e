CREATE INDEX xalt_function_name ON xalt_function {{.Index "function_name" 128}}
