CREATE INDEX pkg_name ON pkg {{.Index "pkg_name" 64}}
