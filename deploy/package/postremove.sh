#!/bin/sh
# After the package was removed. The database, the logs and the user stay: they are
# the site's. deb gives "purge" or "remove", rpm a count.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
