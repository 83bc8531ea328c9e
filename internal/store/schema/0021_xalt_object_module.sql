CREATE INDEX xalt_object_module ON xalt_object {{.Index "module_name" 64}}
