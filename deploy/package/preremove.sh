#!/bin/sh
# Before the package is removed: what runs of it ends. deb gives "remove" or
# "upgrade", rpm how many versions remain.
set -e

case "${1:-}" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now xaltpipe-follow.service xaltpipe-ingest.timer xaltpipe-maps.timer xaltpipe-report.timer || true
	fi
	;;
esac
