#!/bin/sh
# After the package was installed: its user, its directories, and new units known.
# Nothing is started, as the administrator's guide says how, but what follows the
# logs is replaced by the new program.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers xaltpipe.conf
elif ! getent passwd xaltpipe >/dev/null; then
	groupadd --system xaltpipe
	useradd --system --gid xaltpipe --home-dir /var/lib/xaltpipe --no-create-home --shell /usr/sbin/nologin xaltpipe
fi
if command -v systemd-tmpfiles >/dev/null 2>&1; then
	systemd-tmpfiles --create xaltpipe.conf
else
	install -d -m 0750 -o xaltpipe -g xaltpipe /var/lib/xaltpipe
	install -d -m 0750 -o root -g xaltpipe /var/log/xalt
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart xaltpipe-follow.service || true
fi
